"""The reference of the command line, from the typer application."""

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from vlm.app.cli import app

HEAD = ["| argument or option | meaning |", "|---|---|"]


def commands() -> str:
    """Every command with its arguments and options, `eyegraft data ...` among them."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    return "\n\n".join(_group(root, "eyegraft"))


def _group(group: TyperGroup, prefix: str) -> list[str]:
    found = []
    context = group.context_class(group, info_name=prefix)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        title = f"{prefix} {name}"
        if isinstance(command, TyperGroup):
            found += _group(command, title)
        else:
            assert isinstance(command, TyperCommand)
            found.append(_command(command, title))
    return found


def _command(command: TyperCommand, title: str) -> str:
    context = command.context_class(command, info_name=title)
    usage = " ".join(command.collect_usage_pieces(context))
    records = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    lines = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
    about = (command.help or "").replace("\b", "").strip()
    examples = [f"    {line.strip()}" for line in (command.epilog or "").splitlines() if line.startswith("  ")]
    shown = ["", *(["Examples:", "", *examples, ""] if examples else [])]
    return "\n".join([f"## {title}", "", about, "", f"    {title} {usage}", *shown, *HEAD, *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
