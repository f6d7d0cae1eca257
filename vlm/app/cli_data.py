"""The commands `eyegraft data ...`. Each imports what it needs when it runs."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llm import console
from llm.activity import importing
from llm.i18n.language import language
from vlm.app.help_format import CommandGroups, example

if TYPE_CHECKING:
    from data_tools.generate.identity import Rehearse

Format = Annotated[str, typer.Option(help="Format of the records; auto: detected from the first ones.")]
Images = Annotated[str, typer.Option(help="Folder of the images; by default the file's own.")]
Subject = Annotated[str, typer.Argument(metavar="FILE|RECIPE", help="A data file or folder, or a recipe.")]
Columns = Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, such as output=caption; may be repeated.")]
Split = Annotated[str, typer.Option(help="Split to read where the data has several.")]
BoxName = Literal["llava", "xtuner", "thousand", "paligemma", "qwen2.5", "pixels"]
Model = Annotated[str, typer.Option(help="For a data file: the model folder or run whose tokenizer counts.")]
Budget = Annotated[int, typer.Option(min=0, help="Tokens of a pack; 0: the recipe's train.pack_tokens, or 4096.")]
ImageRows = Annotated[
    int, typer.Option("--image-rows", min=0, help="Tokens of an image; 0: as many as the tower gives.")
]

LOOK, MAKE, EDIT = "Look", "Make", "Edit"

data_app = typer.Typer(
    cls=CommandGroups,
    help="Make, check, convert and edit training data.",
    epilog=example(
        "eyegraft data check my-data.json --images photos",
        "eyegraft data show quickstart/finetune --html records.html",
        "eyegraft data convert coco.json my-data.json --to llava",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data_app.command(
    rich_help_panel=LOOK,
    epilog=example(
        "eyegraft data check my-data.json --images photos", "eyegraft data check my-run.yaml --fix sound.json"
    ),
)
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON, JSONL, parquet, CSV, a folder, or a recipe.")],
    images: Annotated[str, typer.Option(help="Folder of the images; by default the file's own.")] = "",
    format: Annotated[str, typer.Option(help="A format that training reads, or auto.")] = "auto",
    look: Annotated[
        Literal["decode", "header", "off"], typer.Option(help="How images are checked: pixels, headers or not at all.")
    ] = "decode",
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the sound records to OUT, the others beside it.")
    ] = None,
    allow_urls: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Download images given as URLs into this folder.")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="Findings shown of each kind.")] = 3,
    columns: Columns = None,
    split: Split = "train",
    boxes: Annotated[
        BoxName | None, typer.Option(help="How the model writes boxes; a recipe says it in data.boxes.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every record and every image. Exit code 0: all can be trained on, 3: errors."""
    from data_tools.check.command import CheckOptions, run

    options = CheckOptions(
        file, images, format, look, fix, allow_urls, first, split, _mapping(columns or []), language(), boxes
    )
    outcome = run(options)
    if as_json:
        console.raw(json.dumps(outcome.json, ensure_ascii=False, indent=1))
    else:
        console.raw("\n".join(outcome.lines).encode("utf-8", "backslashreplace").decode("utf-8"))
        _say_next(*outcome.next)
    if outcome.report.has_errors or (strict and not outcome.report.clean):
        raise typer.Exit(3)


def _say_next(*commands: str) -> None:
    """Print the commands that may come next; names of files may hold bytes that are not UTF-8."""
    console.next_commands(*(text.encode("utf-8", "backslashreplace").decode("utf-8") for text in commands))


@data_app.command(
    rich_help_panel=MAKE,
    epilog=example(
        "eyegraft data convert captions.json my-data.json --format coco --to llava",
        "eyegraft data convert table.csv chat.jsonl --to messages --columns input=question --columns output=answer",
    ),
)
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file, a folder, or org/name on the Hugging Face Hub.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .json, .jsonl or .parquet file to write.")],
    to: Annotated[str, typer.Option(help="llava, messages, openai, sharegpt, xtuner, alpaca or text.")],
    format: Annotated[
        str, typer.Option(help="Format of IN: coco, vqav2, refcoco, easy_vqa or a training format.")
    ] = "auto",
    images: Annotated[str, typer.Option(help="Folder that IN's image paths are relative to.")] = "",
    annotations: Annotated[Path | None, typer.Option(help="Second file of vqav2 and refcoco.")] = None,
    columns: Columns = None,
    split: Split = "train",
    copy_images: Annotated[bool, typer.Option("--copy-images", help="Copy the images beside OUT.")] = False,
    data_urls: Annotated[bool, typer.Option("--data-urls", help="openai: embed the images in OUT.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Skip and count records the format cannot hold.")] = False,
    boxes: Annotated[BoxName | None, typer.Option(help="Rewrite the boxes of the texts in this style.")] = None,
    boxes_from: Annotated[
        BoxName | None, typer.Option("--boxes-from", help="The style they are in, where that may be several.")
    ] = None,
) -> None:
    """Convert data to another format, and report what is lost."""
    from data_tools.convert.convert import ConvertOptions, convert
    from llm.config.schema import Source
    from llm.formats.hub_data import local_source

    mapping = _mapping(columns or [])
    given = local_source(Source(path=source, format=format, images=images, split=split, columns=mapping))
    options = ConvertOptions(given, out, to, annotations, copy_images, data_urls, skip, boxes, boxes_from)
    for line in convert(options).lines():
        console.out(line)
    _say_next(f"eyegraft data check {shlex.quote(str(out))}", f"eyegraft data show {shlex.quote(str(out))}")


def _mapping(texts: list[str]) -> dict[str, str]:
    """`["input=q", "output=a"]` by role."""
    from llm.errors import ConfigError

    for text in texts:
        if not all(text.partition("=")):
            raise ConfigError(f"--columns {text}: write ROLE=COLUMN, such as output=caption")
    return {role: name for role, _, name in (text.partition("=") for text in texts)}


@data_app.command(
    rich_help_panel=LOOK,
    epilog=example(
        "eyegraft data stats my-run.yaml --plots plots", "eyegraft data stats my-data.json --model Qwen/Qwen2.5-0.5B"
    ),
)
def stats(
    file: Subject,
    model: Model = "",
    budget: Budget = 0,
    batch: Annotated[int, typer.Option(min=0, help="Records of a step; 0: the recipe's train.batch, or 16.")] = 0,
    image_rows: ImageRows = 0,
    split: Split = "train",
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Write plots as PNG files to this folder.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the statistics as one JSON object.")] = False,
) -> None:
    """Print statistics of a data set: turns, tokens, images, answers, and the packs that training would form."""
    from data_tools.inspect.stats import collect_statistics
    from data_tools.inspect.stats_text import as_json, summary_lines
    from data_tools.inspect.target import find_target

    found, plot_data = collect_statistics(find_target(file, model, budget, image_rows, batch, split))
    written = []
    if plots is not None:
        from data_tools.inspect.stats_plots import plot

        written = plot(found, plot_data, plots)
    if json_:
        console.raw(
            json.dumps(as_json(found) | {"plots": [str(path) for path in written]}, ensure_ascii=False, indent=1)
        )
        return
    for line in (*summary_lines(found), *(f"{path}: drawn" for path in written)):
        console.out(line)
    _say_next(f"eyegraft data show {shlex.quote(file)}")


@data_app.command(
    rich_help_panel=LOOK,
    epilog=example("eyegraft data show my-run.yaml -n 4", "eyegraft data show my-run.yaml --html records.html"),
)
def show(
    file: Subject,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of records.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    model: Model = "",
    budget: Budget = 0,
    image_rows: ImageRows = 0,
    split: Split = "train",
    html: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a self-contained HTML page.")] = None,
) -> None:
    """Show records as the model sees them: tokens, which of them are trained on, images, and packs."""
    import tempfile

    with importing():
        from data_tools.inspect.show import show as draw
        from data_tools.inspect.show_page import write_page
        from data_tools.inspect.show_text import print_shown
    from data_tools.inspect.target import find_target
    from llm.rich_console import Screen

    subject = find_target(file, model, budget, image_rows, split=split)
    with tempfile.TemporaryDirectory(prefix="eyegraft-show-") as folder:
        shown = draw(subject, n, seed, Path(folder))
        if html is None:
            print_shown(shown, Screen())
        else:
            write_page(shown, html)
            console.out(f"{html}: {shown.records} records")
        _say_next(f"eyegraft data stats {shlex.quote(file)}")


@data_app.command(
    rich_help_panel=EDIT,
    epilog=example(
        "eyegraft data split my-data.json parts --share 0.1", "eyegraft data split my-data.json parts test=0.1 dev=0.05"
    ),
)
def split(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A data file, or a folder of them.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    shares: Annotated[list[str] | None, typer.Argument(metavar="[NAME=SHARE]...", help="For example test=0.1.")] = None,
    share: Annotated[float, typer.Option(help="Validation share, if no NAME=SHARE is given.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    by_content: Annotated[bool, typer.Option("--by-content", help="Compare images by content, not by path.")] = False,
    format: Format = "auto",
    images: Images = "",
) -> None:
    """Split data into train and validation, or named parts, that share no image, record or id."""
    from data_tools.edit.split import split
    from data_tools.edit.split_sizes import read_shares
    from llm.config.schema import Source
    from llm.formats.hub_data import local_source

    wanted = read_shares(shares or [], share or (0.0 if shares else 0.1))
    source = local_source(Source(path=str(file), format=format, images=images))
    done = split(source, folder, wanted, seed, by_content)
    for side in done.sides:
        console.out(f"{side.path}: {side.rows} records, {side.share:.4g} ({side.requested:g} requested)")
    joined = console.listed(f"{count} by {what}" for what, count in done.links.items()) or "none joined"
    console.out(
        f"{done.format}: {done.groups} groups that stay together ({joined}); the largest has {done.largest} records"
    )
    _say_images(done.images)
    train, *others = (shlex.quote(str(side.path)) for side in done.sides)
    held = "".join(f" data.validation_sources.0.path={other}" for other in others[:1])
    _say_next(f"eyegraft train RECIPE data.sources.0.path={train}{held}")


@data_app.command(rich_help_panel=EDIT, epilog=example("eyegraft data mix chat.json=0.5 identity.json=2 mixed.jsonl"))
def mix(
    sources: Annotated[list[str], typer.Argument(metavar="FILE=WEIGHT...", help="Files with weights; 1 by default.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .jsonl, .json or as the sources.")],
    seed: Annotated[int, typer.Option(help="Seed of draw and shuffle.")] = 0,
    size: Annotated[int, typer.Option(min=0, help="Records in total, shared by weight; 0: weights count copies.")] = 0,
    format: Format = "auto",
    images: Images = "",
) -> None:
    """Mix data files by weight into one, shuffled: 0.5 takes half of the records, 2 takes each twice."""
    from data_tools.edit.mix import mix, read_weight
    from llm.config.schema import Source
    from llm.formats.hub_data import local_source

    weighted = [local_source(Source(path=path, weight=weight, format=format, images=images))
                for path, weight in map(read_weight, sources)]  # fmt: skip
    done = mix(weighted, out, seed, size)
    console.out(f"{out}: {sum(part.written for part in done.parts)} records, {done.format}")
    for part in done.parts:
        console.out(f"  {part.path}: {part.rows} records at weight {part.weight:g}, {part.written} written")
    _say_images(done.images)
    _say_next(f"eyegraft data check {shlex.quote(str(out))}")


@data_app.command(rich_help_panel=EDIT, epilog=example("eyegraft data repeat few.json 10 many.json"))
def repeat(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A data file, or a folder of them.")],
    copies: Annotated[int, typer.Argument(metavar="N", help="Copies of each record in OUT.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    format: Format = "auto",
    images: Images = "",
) -> None:
    """Repeat a small data file, with a warning about what repetition does to a model."""
    from data_tools.edit.repeat import repeat
    from llm.config.schema import Source
    from llm.formats.hub_data import local_source

    done = repeat(local_source(Source(path=str(file), format=format, images=images)), copies, out)
    console.out(f"{out}: {done.copies} x {done.rows} records = {done.copies * done.rows}, {done.format}")
    _say_images(done.images)
    console.err(f"warning: {done.warning()}")
    _say_next(f"eyegraft data check {shlex.quote(str(out))}")


def _say_images(folder: str) -> None:
    """Print the image folder that a recipe must name, since image paths are unchanged."""
    if folder:
        console.out(f"its image paths start in another folder; in a recipe write images: {folder}")


@data_app.command(
    rich_help_panel=MAKE, epilog=example('eyegraft data identity --name Iris --author "the Iris team" data/identity')
)
def identity(
    name: Annotated[str, typer.Option(help="Name of the assistant.")],
    author: Annotated[str, typer.Option(help="Who made it.")],
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to write.")] = Path("data/identity"),
    lang: Annotated[str, typer.Option(help="Language of the questions: en, zh, or both as zh,en.")] = "en",
    size: Annotated[
        Literal["small", "large"], typer.Option(help="Plain questions only, or every kind of them: thrice the records.")
    ] = "large",
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    rehearse: Annotated[str, typer.Option(help="Model to be tuned: its own answers keep what it knows.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Write over files of an earlier call.")] = False,
) -> None:
    """Generate training data for an assistant that knows its name, and questions to evaluate it."""
    from data_tools.generate.identity import write_identity

    own_answers: Rehearse = tuple
    if rehearse:
        with importing():
            from data_tools.generate.self_answers import rehearsal  # only then is torch needed

        own_answers = rehearsal(rehearse)
    data = write_identity(name, author, lang, folder, seed, own_answers, replace, size)
    console.out(f"{folder / 'train.json'}: {len(data.train)} conversations, half about it, half ordinary chat")
    console.out(f"{folder / 'held_out.json'}: {len(data.held_out)} questions about it, never trained on")
    console.out(f"{folder / 'others.json'}: {len(data.others)} questions that are not about it")
    train, held_out = shlex.quote(str(folder / "train.json")), shlex.quote(str(folder / "held_out.json"))
    _say_next(
        f"eyegraft train quickstart/identity out=runs/my-identity data.sources.0.path={train}",
        f"eyegraft eval runs/my-identity --data {held_out}",
    )


@data_app.command(rich_help_panel=EDIT, epilog=example("eyegraft data rename Iris Vega old.json new.json"))
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Name to replace.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Name to write instead.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, JSONL, CSV or parquet.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write, of the same type.")],
) -> None:
    """Replace a name in every text of a data file."""
    from data_tools.edit.rename import rename, spellings
    from llm.formats.hub_data import local_file

    done = rename(old, new, local_file(file), out)
    left = spellings(done.other_spellings)
    console.out(f"{out}: {sum(done.fields.values())} replaced in {done.changed} of {done.rows} records")
    for field, count in done.fields.items():
        console.out(f"  {field}: {count}")
    if left:
        console.out(f"left as they are, in another case or inside longer words: {left}")
    _say_next(f"eyegraft data check {shlex.quote(str(out))}")


@data_app.command(
    rich_help_panel=EDIT,
    epilog=example('eyegraft data fill template.json mine.json --name Iris --author "the Iris team"'),
)
def fill(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, JSONL, CSV or parquet.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write, of the same type.")],
    name: Annotated[str, typer.Option(help="Name of the assistant, for {{NAME}}.")],
    author: Annotated[str, typer.Option(help="Who made it, for {{AUTHOR}}.")],
) -> None:
    """Fill in {{NAME}} and {{AUTHOR}} in every text of a data file."""
    from data_tools.edit.fill import fill
    from llm.formats.hub_data import local_file

    done = fill(local_file(file), out, name, author)
    console.out(f"{out}: {sum(done.counts.values())} filled in {done.changed} of {done.rows} records")
    for placeholder, count in done.counts.items():
        console.out(f"  {{{{{placeholder}}}}}: {count}")
    _say_next(f"eyegraft data check {shlex.quote(str(out))}")


@data_app.command(
    rich_help_panel=MAKE,
    epilog=example(
        "eyegraft data ask questions.txt answers.jsonl --model gpt-4o-mini",
        "eyegraft data ask photos captions.jsonl --model my-model --base-url http://127.0.0.1:8000/v1",
    ),
)
def ask(
    questions: Annotated[
        Path, typer.Argument(metavar="QUESTIONS", help="A file of lines or records, or a folder of images.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .jsonl or .json file to write.")],
    model: Annotated[str, typer.Option(help="Name of the model at the API.")],
    base_url: Annotated[
        str, typer.Option(envvar="OPENAI_BASE_URL", help="Address of the API.")
    ] = "https://api.openai.com/v1",
    key_env: Annotated[str, typer.Option(help="Environment variable that holds the API key.")] = "OPENAI_API_KEY",
    system: Annotated[str, typer.Option(metavar="FILE", help="File with the system prompt.")] = "",
    keep_system: Annotated[
        bool, typer.Option("--keep-system", help="Store the system prompt with the answers.")
    ] = False,
    field: Annotated[str, typer.Option(help="Field of a record that holds its question, if unusual.")] = "",
    instruction: Annotated[str, typer.Option(help="What to ask about each image: text, or a .txt or .md file.")] = "",
    turns: Annotated[int, typer.Option(min=0, help="Questions and answers per image; 0: one caption.")] = 0,
    question: Annotated[str, typer.Option(help="Question stored with a caption instead of the instruction.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Sent with each request, such as temperature=0.7."),
    ] = None,
    max_side: Annotated[int, typer.Option(min=28, help="Longest side of a sent image, in pixels.")] = 1024,
    workers: Annotated[int, typer.Option(min=1, help="Concurrent requests.")] = 4,
    per_minute: Annotated[float, typer.Option(min=0, help="Most requests per minute; 0: no limit.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Most requests of this run; 0: no limit.")] = 0,
    retries: Annotated[int, typer.Option(min=0, help="Retries of a failed request.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 120,
) -> None:
    """Ask an OpenAI-compatible API about texts or images, and store the answers as training data."""
    from data_tools.ask.ask import ask, report
    from data_tools.ask.options import AskOptions
    from data_tools.ask.plan import prepare

    options = AskOptions(
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
        console.out(line)
    if not outcome.exit_code:
        _say_next(f"eyegraft data check {shlex.quote(str(out))}")
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
