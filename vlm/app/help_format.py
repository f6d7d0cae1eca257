"""Help pages as plain text: commands in named groups, examples as they are typed."""

from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

OTHER = "Commands"
LONGEST = 200  # characters of a summary


def example(*lines: str) -> str:
    """The epilog that shows command lines unwrapped (`\\b` is click's mark for that)."""
    return "\n".join(("\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)))


class CommandGroups(TyperGroup):
    """Lists commands under their `rich_help_panel`, groups in the order of their first command."""

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write one section a group, each command with its complete summary."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if isinstance(command, TyperCommand | TyperGroup) and not command.hidden:
                rows = groups.setdefault(command.rich_help_panel or OTHER, [])
                rows.append((name, command.get_short_help_str(LONGEST)))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)
