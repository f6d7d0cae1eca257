"""The commands `eyegraft data ...`. Each imports what it needs when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from data_tools.identity import Retell

data_app = typer.Typer(help="Make, check and mend training data.", no_args_is_help=True, rich_markup_mode=None)


@data_app.command()
def identity(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who the assistant is.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    author: Annotated[str, typer.Option(help="Who made it.")],
    lang: Annotated[Literal["en", "zh"], typer.Option(help="The language it is asked in.")] = "en",
    seed: Annotated[int, typer.Option(help="Another seed draws other words.")] = 0,
    rehearse: Annotated[str, typer.Option(help="The model to be tuned: it then keeps what it knows.")] = "",
) -> None:
    """Make training data for an assistant that knows who it is, and the questions to judge it by."""
    from data_tools.identity import write_identity

    data = write_identity(name, author, lang, folder, seed, _rehearsal(rehearse) if rehearse else tuple)
    print(f"{folder / 'train.json'}: {len(data.train)} conversations")
    print(f"{folder / 'held_out.json'}: {len(data.held_out)} questions about it, never trained on")
    print(f"{folder / 'others.json'}: {len(data.others)} questions that are not about it")


def _rehearsal(model: str) -> "Retell":
    """What lets the model answer; only here, since the rest of the command needs no torch."""
    from functools import partial

    from data_tools.rehearse import rehearse
    from vlm.chat import open_speaker

    return partial(rehearse, speaker=open_speaker(Path(model)))


@data_app.command()
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD")],
    new: Annotated[str, typer.Argument(metavar="NEW")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, JSONL, CSV or parquet.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, of the same form.")],
) -> None:
    """Replace one name by another in every text of a data file."""
    from data_tools.rename import rename

    done = rename(old, new, file, out)
    print(f"{out}: {sum(done.fields.values())} replaced in {done.changed} of {done.rows} rows")
    for field, count in done.fields.items():
        print(f"  {field}: {count}")


@data_app.command()
def fill(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, JSONL, CSV or parquet.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, of the same form.")],
    name: Annotated[str, typer.Option(help="Who the assistant is, for {{NAME}}.")],
    author: Annotated[str, typer.Option(help="Who made it, for {{AUTHOR}}.")],
) -> None:
    """Fill a template: {{NAME}} and {{AUTHOR}} in every text of a data file."""
    from data_tools.fill import fill

    done = fill(file, out, name, author)
    print(f"{out}: {sum(done.counts.values())} filled in {done.changed} of {done.rows} rows")
    for placeholder, count in done.counts.items():
        print(f"  {{{{{placeholder}}}}}: {count}")
