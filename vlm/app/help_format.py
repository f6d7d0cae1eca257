"""Help pages as plain text: commands in named groups, examples as they are typed."""

from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup

from llm import console
from llm.errors import Stopped
from llm.i18n.language import language
from vlm.app.other_tools import refuse_other_command, refuse_other_export_options, refuse_other_options

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

OTHER = "Commands"
LONGEST = 200  # characters of a summary


def example(*lines: str) -> str:
    """The epilog that shows command lines unwrapped (`\\b` is click's mark for that)."""
    return "\n".join(("\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)))


class HelpContext(typer.Context):
    """A command's context, whose help is in the user's language."""

    def make_formatter(self) -> "HelpFormatter":
        """The writer of a help page."""
        if language() == "en":
            return super().make_formatter()
        from vlm.app.chinese_help import ChineseFormatter

        return ChineseFormatter(width=self.terminal_width, max_width=self.max_content_width)


class RunCommand(TyperCommand):
    """A command whose settings are keys of a recipe: an option of another trainer is answered with the key."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """The arguments that are left. Raises ConfigError for an option that is a key of a recipe here."""
        refuse_other_options(args, (name for parameter in self.params for name in parameter.opts))
        return super().parse_args(ctx, args)


class ExportCommand(TyperCommand):
    """The command `export`, which answers options of other trainers' export commands."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """The arguments that are left. Raises ConfigError for an option whose work another command does here."""
        refuse_other_export_options(args, (name for parameter in self.params for name in parameter.opts))
        return super().parse_args(ctx, args)


class CommandGroups(TyperGroup):
    """Lists commands under their `rich_help_panel`, groups in the order of their first command.

    Its help pages, and those of its commands, are in the user's language.
    """

    context_class = HelpContext

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """The command of that name."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.context_class = HelpContext
        return command

    def invoke(self, ctx: "Context") -> object:
        """Run the command. Raises Stopped, which is no error, on Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise Stopped("stopped. The same command starts again") from interrupt

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        """The command of that name. Raises ConfigError with our command's name for one of another trainer."""
        if ctx.parent is None:
            refuse_other_command(args, self.commands)
        return super().resolve_command(ctx, args)

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


def show_usage_error(error: typer.TyperException) -> None:
    """Write the command's usage, where its help is, and what is wrong, in the user's language."""
    context, message = getattr(error, "ctx", None), error.format_message()
    if context is not None and message == context.get_help():  # a group without a command
        console.raw_err(message)
        return
    if context is not None:
        console.raw_err(context.get_usage())
        console.err(f"Try '{context.command_path} --help' for help.\n")
    text = console.localized(message)
    console.raw_err(f"{'Error: ' if text == message else '错误：'}{text}")
