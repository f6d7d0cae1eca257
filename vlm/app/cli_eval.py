"""The commands that measure models: eval on a recipe or on benchmark files, and compare."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llm import console
from llm.activity import importing
from llm.config.dtype_variable import asked_dtype
from llm.errors import ConfigError
from llm.log import logger
from vlm.app.benchmark_table import print_table
from vlm.app.cli_look import Overrides
from vlm.app.cli_serve import Adapter, Bits, Checkpoint, check_bits
from vlm.app.help_format import CommandGroups, RunCommand, example

if TYPE_CHECKING:
    from vlm.evaluate.answerer import Answerer
    from vlm.evaluate.benchmark_files import BenchmarkFiles
    from vlm.evaluate.benchmark_run import Asking, BenchmarkResult, Show
    from vlm.questions.question import QuestionSet

TRAIN = "Train"
eval_app = typer.Typer(cls=CommandGroups, rich_markup_mode=None)

On = Annotated[
    list[Path] | None,
    typer.Option("--on", help="Benchmark file or folder, or your own questions; may be repeated."),
]
Form = Annotated[str, typer.Option(help="Form of the files, such as pope or letters; auto: found from their content.")]
Images = Annotated[str, typer.Option(help="Folder of their images; by default the file's own.")]
Split = Annotated[str, typer.Option(help="Ask the questions of this split only.")]
Limit = Annotated[int, typer.Option(min=0, help="Number of questions; 0: all.")]
Blind = Annotated[bool, typer.Option("--blind/--no-blind", help="Ask again without the images, for the blind score.")]
Generate = Annotated[bool, typer.Option("--generate", help="Write letters and yes or no as texts, too.")]
Boxes = Annotated[
    Literal["unit", "thousand", "pixels"],
    typer.Option(help="How the model writes boxes: shares of the sides, these times 1000, or pixels."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad-rows", help="Leave out rows that cannot be read, and count them.")]
Out = Annotated[str, typer.Option(help="Folder of the report; by default inside the model's folder.")]
Endpoint = Annotated[
    str, typer.Option(help="Address of an OpenAI-compatible API, usually ending in /v1; MODEL is its name there.")
]
KeyEnv = Annotated[str, typer.Option(help="Environment variable that holds the API key.")]


@eval_app.command(
    "eval",
    cls=RunCommand,
    rich_help_panel=TRAIN,
    epilog=example(
        "eyegraft eval quickstart/eval",
        "eyegraft eval runs/my-run --on mmbench.tsv --on pope.jsonl",
        "eyegraft eval runs/my-run --data questions.json --limit 500",
    ),
)
def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="FILE|MODEL", help="An eval recipe, or a model with --on, or a run with --data.")
    ],
    overrides: Overrides = None,
    on: On = None,
    data: Annotated[
        str, typer.Option(help="Image questions in any format that training reads, or held_out.json of an identity.")
    ] = "",
    form: Form = "auto",
    images: Images = "",
    split: Split = "",
    limit: Limit = 0,
    blind: Blind = True,
    generate: Generate = False,
    boxes: Boxes = "unit",
    skip_bad_rows: SkipBad = False,
    out: Out = "",
    checkpoint: Checkpoint = "latest",
    adapter: Adapter = "",
    bits: Bits = 0,
    endpoint: Endpoint = "",
    key_env: KeyEnv = "OPENAI_API_KEY",
) -> None:
    """Evaluate a model on benchmark files, or a run by an eval recipe or on the questions of --data."""
    check_bits(bits)
    if on and data:
        raise ConfigError("--on and --data are two ways to name questions. Give one of them")
    needs_on = {
        "--form": form != "auto", "--split": bool(split), "--no-blind": not blind, "--generate": generate,
        "--boxes": boxes != "unit", "--skip-bad-rows": skip_bad_rows, "--out": bool(out), "--endpoint": bool(endpoint),
        "--adapter": bool(adapter), "--bits": bool(bits),
    }  # fmt: skip
    if not on:
        if option := _first(needs_on):
            raise ConfigError(f"{option} is for questions that --on names. Add --on FILE, or leave it out")
        _by_recipe(target, overrides, data, images, limit, checkpoint)
        return
    if overrides:
        raise ConfigError(f"{overrides[0]}: keys of a recipe have no place beside --on. Use the options")
    files, asking = _files(on, form, images, split, limit, skip_bad_rows), _asking(blind, boxes)
    if endpoint:
        here = {"--generate": generate, "--adapter": bool(adapter), "--bits": bool(bits)}
        here["--checkpoint"] = checkpoint != "latest"
        if option := _first(here):
            raise ConfigError(f"{option} is for models of this machine, not for one at --endpoint. Leave it out")
        results = _measured_there(target, endpoint, key_env, files, asking, out)
    else:
        results = _measured(target, checkpoint, adapter, bits, generate, files, asking, out)
    print_table([(target, results)])


@eval_app.command(rich_help_panel=TRAIN, epilog=example("eyegraft compare runs/before runs/after --on pope.jsonl"))
def compare(
    first: Annotated[str, typer.Argument(metavar="MODEL", help="A run, a model folder or an adapter's folder.")],
    second: Annotated[str, typer.Argument(metavar="MODEL", help="The model that it is compared with.")],
    on: On = None,
    form: Form = "auto",
    images: Images = "",
    split: Split = "",
    limit: Limit = 0,
    generate: Generate = False,
    boxes: Boxes = "unit",
    skip_bad_rows: SkipBad = False,
    checkpoint: Checkpoint = "latest",
    bits: Bits = 0,
) -> None:
    """Compare two models on the same questions by a paired bootstrap, with the verdict in a sentence."""
    check_bits(bits)
    if not on:
        raise ConfigError("compare needs --on FILE, the questions that both models answer")
    files, asking = _files(on, form, images, split, limit, skip_bad_rows), _asking(False, boxes)
    pair = [_measured(one, checkpoint, "", bits, generate, files, asking, "") for one in (first, second)]
    print_table([(first, pair[0]), (second, pair[1])])
    from llm.i18n.language import language
    from vlm.reports.summary import compare_judgements
    from vlm.scores.verdict import verdict

    console.raw("")
    for one, other in zip(*pair, strict=True):
        main = one.judged.main
        for found in compare_judgements(one.judged, other.judged):
            if main is not None and found.name == main.name:
                console.raw(f"{one.benchmark.name}: {verdict(found, first, second, language())}")


def _first(given: dict[str, bool]) -> str:
    """The first option that was given; empty without any."""
    return next((option for option, is_given in given.items() if is_given), "")


def _by_recipe(target: str, overrides: Overrides, data: str, images: str, limit: int, checkpoint: str) -> None:
    from vlm.config import EvalConfig, load_config
    from vlm.evaluate.data_eval import evaluation_of

    if data:
        config = evaluation_of(target, checkpoint, data, images, limit, overrides or ())
    else:
        loaded = load_config(target, overrides or ())
        if not isinstance(loaded, EvalConfig):
            raise ConfigError(
                f"{target}: found stage {loaded.stage}; name a recipe with `stage: eval`, or add --on FILE"
            )
        config = loaded
    with importing():
        from vlm.evaluate.run_eval import evaluate

    evaluate(config)
    console.next_commands(f"eyegraft chat {config.run}", "eyegraft web")


def _files(on: list[Path], form: str, images: str, split: str, limit: int, skip_bad_rows: bool) -> "BenchmarkFiles":
    from llm.formats.hub_data import local_file
    from vlm.evaluate.benchmark_files import BenchmarkFiles

    images = str(local_file(images, "")) if images else ""
    return BenchmarkFiles(tuple(map(local_file, on)), form, images, split, limit, "skip" if skip_bad_rows else "stop")


def _asking(blind: bool, boxes: Literal["unit", "thousand", "pixels"]) -> "Asking":
    from vlm.evaluate.benchmark_run import Asking
    from vlm.scores.boxes import BoxConvention

    return Asking(boxes=BoxConvention(boxes), blind=blind)


def _measured(
    model: str,
    checkpoint: str,
    adapter: str,
    bits: int,
    generate: bool,
    files: "BenchmarkFiles",
    asking: "Asking",
    out: str,
) -> "list[BenchmarkResult]":
    """Ask one model. The questions are read, and refused, before the model is loaded."""
    from llm.model.model_folder import named_folder
    from vlm.evaluate.model_identity import model_identity

    sets = _read(files)
    place, dtype = named_folder(model), asked_dtype()
    identity = model_identity(place, checkpoint, adapter, bits, generate, *([dtype] if dtype else []))
    beside = place / "benchmarks" if place == Path(model) else Path("evaluations") / _as_folder(model)
    folder = Path(out or beside / files.name)
    with importing():
        from vlm.evaluate.local_answerer import LocalAnswerer
        from vlm.model.open_chat_model import open_chat_model

    answerer = LocalAnswerer(model, open_chat_model(place, checkpoint, adapter, bits), generate)
    return _asked(answerer, identity, sets, folder, asking)


def _measured_there(
    model: str, endpoint: str, key_env: str, files: "BenchmarkFiles", asking: "Asking", out: str
) -> "list[BenchmarkResult]":
    """Ask a model by an API. Its weights are not known, so its name and address identify it."""
    from data_tools.ask.api_key import read_api_key
    from data_tools.ask.client import ApiServer
    from data_tools.ask.endpoint_answerer import EndpointAnswerer
    from data_tools.ask.options import check_url, is_unencrypted

    server = ApiServer(check_url(endpoint, "--endpoint"), read_api_key(key_env), key_env)
    if server.key.value and is_unencrypted(server.url):
        logger.warning(f"{server.url}: the key is sent unencrypted. Use https")
    folder = Path(out or Path("evaluations") / _as_folder(model) / files.name)
    return _asked(EndpointAnswerer(server, model), f"{model} {server.url}", _read(files), folder, asking)


def _as_folder(model: str) -> str:
    """The name of a model that is no folder here, as a folder's."""
    return "".join(one if one.isalnum() or one in "-_." else "-" for one in model).lstrip(".")


def _read(files: "BenchmarkFiles") -> "tuple[QuestionSet, ...]":
    sets = files.read()
    for one in sets:
        console.raw(f"{len(one.questions):,} questions, {one.form}: {one.reason}")
    return sets


def _asked(
    answerer: "Answerer", identity: str, sets: "tuple[QuestionSet, ...]", folder: Path, asking: "Asking"
) -> "list[BenchmarkResult]":
    from vlm.evaluate.benchmark_run import run_benchmarks

    with _progress() as show:
        results = run_benchmarks(answerer, identity, sets, folder, asking, show)
    console.raw(f"report: {folder / 'report.html'}")
    return results


@contextmanager
def _progress() -> "Iterator[Show]":
    """A bar of answered prompts."""
    from data_tools.progress import ProgressBar

    bars: list[ProgressBar] = []

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(ProgressBar("answers", total, done))
            bars[0].__enter__()
        bars[0].update(done)

    try:
        yield show
    finally:
        for bar in bars:
            bar.__exit__(None, None, None)
