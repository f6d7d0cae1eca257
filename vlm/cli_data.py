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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON or JSONL.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
) -> None:
    """Replace one name by another in every text of a data file."""
    from data_tools.rename import rename

    counts = rename(old, new, file, out)
    for field, count in counts.items():
        print(f"{field}: {count} replaced")
    print(f"{out}: {sum(counts.values())} replaced in all")


@data_app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file, a folder, or org/name on the hub.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .json, .jsonl or .parquet file to write.")],
    to: Annotated[str, typer.Option(help="llava, messages, openai, sharegpt, xtuner, alpaca or text.")],
    format: Annotated[str, typer.Option(help="What IN is: coco, vqav2, refcoco, easy_vqa or a reader.")] = "auto",
    images: Annotated[str, typer.Option(help="The folder that IN's image paths are relative to.")] = "",
    annotations: Annotated[Path | None, typer.Option(help="The second file of vqav2 and refcoco.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, such as output=caption; repeat it.")] = None,
    split: Annotated[str, typer.Option(help="The split of a hub data set or of refcoco.")] = "train",
    copy_images: Annotated[bool, typer.Option("--copy-images", help="Copy the pictures beside OUT.")] = False,
    data_urls: Annotated[bool, typer.Option("--data-urls", help="openai: put the pictures inside.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Leave out and count rows that the format cannot hold.")] = False,
) -> None:
    """Write data in another format, and say what is lost."""
    from data_tools.convert import Wish, convert
    from llm.config import Source

    mapping = _mapping(columns or [])
    given = Source(path=source, format=format, images=images, split=split, columns=mapping)
    for line in convert(Wish(given, out, to, annotations, copy_images, data_urls, skip)).lines():
        print(line)


def _mapping(texts: list[str]) -> dict[str, str]:
    """`["input=q", "output=a"]` by role."""
    from llm.errors import ConfigError

    for text in texts:
        if not all(text.partition("=")):
            raise ConfigError(f"--columns {text}: write ROLE=COLUMN, such as output=caption")
    return {role: name for role, _, name in (text.partition("=") for text in texts)}
