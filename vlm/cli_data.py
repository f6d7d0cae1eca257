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
def ask(
    questions: Annotated[Path, typer.Argument(metavar="QUESTIONS", help="Lines or rows; or a folder of pictures.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .jsonl or .json to write.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    base_url: Annotated[
        str, typer.Option(envvar="OPENAI_BASE_URL", help="The API's address.")
    ] = "https://api.openai.com/v1",
    key_env: Annotated[str, typer.Option(help="The environment variable with the key.")] = "OPENAI_API_KEY",
    system: Annotated[str, typer.Option(metavar="FILE", help="The system prompt.")] = "",
    keep_system: Annotated[bool, typer.Option("--keep-system", help="Store the system prompt with answers.")] = False,
    field: Annotated[str, typer.Option(help="The name of a row's question, where it is an unusual one.")] = "",
    instruction: Annotated[str, typer.Option(help="What to say of each picture: text, or a .txt or .md file.")] = "",
    turns: Annotated[int, typer.Option(min=0, help="Questions and answers about each picture; 0: a caption.")] = 0,
    question: Annotated[str, typer.Option(help="Stored with captions in place of the instruction.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Sent along, such as temperature=0.7.")
    ] = None,
    max_side: Annotated[int, typer.Option(min=28, help="Pixels; larger pictures are sent smaller.")] = 1024,
    workers: Annotated[int, typer.Option(min=1, help="Requests at the same time.")] = 4,
    per_minute: Annotated[float, typer.Option(min=0, help="Requests a minute at most; 0: no bound.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Requests of this run at most; 0: no bound.")] = 0,
    retries: Annotated[int, typer.Option(min=0, help="How often a request that failed is sent again.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds an answer may take.")] = 120,
) -> None:
    """Ask any OpenAI-compatible API, about texts or pictures, and store the answers as training data."""
    from data_tools.ask.ask import ask, report
    from data_tools.ask.options import Options
    from data_tools.ask.plan import prepare

    options = Options(
        model=model,
        base_url=base_url,
        key_env=key_env,
        system=system,
        keep_system=keep_system,
        field=field,
        instruction=instruction,
        turns=turns,
        question=question,
        set=tuple(settings or ()),
        max_side=max_side,
        workers=workers,
        per_minute=per_minute,
        limit=limit,
        retries=retries,
        timeout=timeout,
    )
    plan = prepare(questions, out, options)
    outcome = ask(plan)
    for line in report(plan, outcome):
        print(line)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
