"""The commands `eyegraft data ...`. Each imports what it needs when it runs."""

import json
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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON or JSONL.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
) -> None:
    """Replace one name by another in every text of a data file."""
    from data_tools.rename import rename

    counts = rename(old, new, file, out)
    for field, count in counts.items():
        print(f"{field}: {count} replaced")
    print(f"{out}: {sum(counts.values())} replaced in all")


Subject = Annotated[str, typer.Argument(metavar="FILE|RECIPE", help="A data file or folder, or a recipe.")]
Model = Annotated[str, typer.Option(help="For a data file: whose tokens; a model folder or a run.")]
Budget = Annotated[int, typer.Option(min=0, help="Rows of a pack; 0: the recipe's train.pack_tokens, or 4096.")]
ImageRows = Annotated[int, typer.Option("--image-rows", min=0, help="Rows an image takes; 0: as the tower gives them.")]


@data_app.command()
def stats(
    file: Subject,
    model: Model = "",
    budget: Budget = 0,
    batch: Annotated[int, typer.Option(min=0, help="Records a step; 0: the recipe's train.batch, or 16.")] = 0,
    image_rows: ImageRows = 0,
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw PNGs into a folder.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count what a data set holds: turns, tokens, images, answers, and the packs training would make."""
    from data_tools.stats import measure
    from data_tools.stats_text import as_json, told
    from data_tools.subject import find_subject

    found, series = measure(find_subject(file, model, budget, image_rows, batch))
    written = []
    if plots is not None:
        from data_tools.stats_plots import plot

        written = plot(found, series, plots)
    if json_:
        print(json.dumps(as_json(found) | {"plots": [str(path) for path in written]}, ensure_ascii=False, indent=1))
        return
    for line in (*told(found), *(f"{path}: drawn" for path in written)):
        print(line)


@data_app.command()
def show(
    file: Subject,
    n: Annotated[int, typer.Option("-n", min=1, help="How many records.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed draws other records.")] = 0,
    model: Model = "",
    budget: Budget = 0,
    image_rows: ImageRows = 0,
    html: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a page that needs no other file.")] = None,
) -> None:
    """Show records as the model reads them: what is read, what is learnt, images, and the packs they share."""
    import tempfile

    from rich.console import Console

    from data_tools.show import show as draw
    from data_tools.show_page import write_page
    from data_tools.show_text import print_shown
    from data_tools.subject import find_subject

    subject = find_subject(file, model, budget, image_rows)
    with tempfile.TemporaryDirectory(prefix="eyegraft-show-") as folder:
        shown = draw(subject, n, seed, Path(folder))
        if html is None:
            print_shown(shown, Console())
        else:
            write_page(shown, html)
            print(f"{html}: {shown.records} records")
