"""The command `eyegraft`. Each command imports what it needs when it runs: help and validation answer at once."""

import logging
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llm import console
from llm.activity import importing
from llm.config.other_keys import ZERO_ALIASES
from llm.errors import EyegraftError, Stopped
from llm.i18n.language import language
from llm.i18n.translate import Language, translated, translated_error
from llm.log import log_to_console
from llm.printable import escape_output
from llm.train.process_memory import limit_kernel_caches
from vlm.app.cli_data import data_app
from vlm.app.cli_eval import TRAIN, eval_app
from vlm.app.cli_jobs import jobs_app
from vlm.app.cli_look import File, Overrides, look_app
from vlm.app.cli_serve import SERVICE, USE, Adapter, Bits, Checkpoint, check_bits, serve_app
from vlm.app.help_format import CommandGroups, ExportCommand, RunCommand, example, show_usage_error
from vlm.export.formats import ExportDtype, ExportFormat

if TYPE_CHECKING:
    from typer._click import Context

DATA = "Data"
# Of the help page, whose groups have the order of their first command.
ORDER = (
    "train",
    "eval",
    "compare",
    "chat",
    "serve",
    "web",
    "service",
    "export",
    "merge",
    "assets",
    "plan",
    "jobs",
    "data",
)


class Commands(CommandGroups):
    """All commands, in the order of ORDER; those that it does not name follow."""

    def list_commands(self, ctx: "Context") -> list[str]:
        """Their names."""
        named = [name for name in ORDER if name in self.commands]
        return [*named, *(name for name in self.commands if name not in named)]


app = typer.Typer(
    cls=Commands,
    help="Train, evaluate, chat with and export vision-language models: a vision tower on any Hugging Face causal LM.",
    epilog=example(
        "eyegraft train quickstart/finetune",
        "eyegraft chat runs/quickstart/finetune --image photo.jpg",
        "eyegraft data check my-data.json",
        "eyegraft plan quickstart/finetune --device 24GiB",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace an export of another run or form in DIR.")]
EXPORTS = (
    "hf: one merged Hugging Face folder. peft: a LoRA adapter, and its base where that was trained too. "
    "llava: mm_projector.bin. gguf: files for llama.cpp (SigLIP towers; Llama and Qwen LLMs). "
    "ollama: those and a Modelfile."
)


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and its own exit code."""
    escape_output()
    # Progress bars and advice of libraries would hide our own lines; users who want them set these variables.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    limit_kernel_caches()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    lang: Language = "en"
    try:
        lang = language()
        with log_to_console():
            code = app(prog_name="eyegraft", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except typer.TyperException as error:
        show_usage_error(error)
        sys.exit(error.exit_code)
    except typer.Abort:  # the end of input
        sys.exit(1)
    except EyegraftError as error:
        interrupted = not error.label and sys.stderr.isatty()  # after the terminal's ^C
        with suppress(OSError):  # a log on the disk that is full
            console.raw_err(("\n" if interrupted else "") + _error_text(error, lang))
        sys.exit(error.exit_code)


def _error_text(error: EyegraftError, lang: Language) -> str:
    text = translated_error(str(error), lang)
    return f"{error.label if text == str(error) else translated(error.label, lang)}{text}"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.raw(f"eyegraft {version('eyegraft')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, evaluate, chat with and export vision-language models: a vision tower on any Hugging Face causal LM."""


@app.command(
    cls=RunCommand,
    rich_help_panel=TRAIN,
    epilog=example(
        "eyegraft train quickstart/finetune",
        "eyegraft train my-run.yaml train.batch=32 optim.lr=1e-5",
        "eyegraft train my-run.yaml --nproc 4 --deepspeed zero2",
    ),
)
def train(
    file: File,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be trained, and stop.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Resume although recipe or data changed.")] = False,
    nproc: Annotated[int, typer.Option(min=0, help="Processes on this machine; 0: only this one.")] = 0,
    deepspeed: Annotated[str, typer.Option(help="zero1, zero2, zero2_offload, zero3 or zero3_offload.")] = "",
    render: Annotated[
        str, typer.Option(help="slurm, sky, kubeflow or ray: print a job file for --nodes machines; nothing is run.")
    ] = "",
    nodes: Annotated[int, typer.Option(min=1, help="Machines of the job file.")] = 2,
) -> None:
    """Train a recipe, or resume it from its last checkpoint; a pipeline runs its steps in order."""
    zero = ZERO_ALIASES.get(deepspeed, deepspeed)
    overrides = [*(overrides or ()), *([f"parallel={zero}"] if zero else ())]
    from vlm.app.launch import TrainCommand
    from vlm.config import load_config
    from vlm.recipes import find_recipe

    config, path = load_config(file, overrides), find_recipe(file)
    start = TrainCommand(path, tuple(overrides), anyway, nproc)
    if render:
        from vlm.app.cluster.job import ClusterJob
        from vlm.app.cluster.render import render_job

        console.raw(render_job(render, ClusterJob(config.name, start, nodes, Path.cwd())), end="")
        return
    # Imported only now, so that a faulty recipe is reported before torch is loaded.
    if dry_run:
        with importing():
            from vlm.plan.dry_run import dry_run as describe

        describe(config, path)
        console.next_commands(f"eyegraft train {shlex.join([file, *overrides])}")
        return
    from vlm.app.endings import after_training

    with importing():
        from vlm.app.pipeline import run_step

    try:
        run_step(config, start)
    except KeyboardInterrupt as interrupt:  # while the model is loaded, or a second Ctrl-C
        raise Stopped(
            "stopped. The same command goes on from the last checkpoint, or begins where there is none"
        ) from interrupt
    if not nproc and os.environ.get("RANK", "0") == "0":  # of several processes the first one reports
        after_training(config, path)


@app.command(rich_help_panel=USE, epilog=example("eyegraft chat runs/my-run --image photo.jpg"))
def chat(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, a Hugging Face folder, or an adapter's folder.")
    ],
    image: Annotated[list[Path] | None, typer.Option(help="Image of the first question; may be repeated.")] = None,
    checkpoint: Checkpoint = "latest",
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    temperature: Annotated[float, typer.Option(min=0.0, help="0: always the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="Sample among the k likeliest tokens; 0: all.")] = 0,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Sample among the likeliest of total probability p.")
    ] = 1.0,
    repetition_penalty: Annotated[float, typer.Option(min=0.01, help="Above 1: repetition becomes less likely.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer; may be repeated.")] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Print the answer as it is generated.")] = True,
    adapter: Adapter = "",
    bits: Bits = 0,
) -> None:
    """Chat with a model in the terminal; /image FILE adds an image, /reset begins anew, /help says more."""
    check_bits(bits)
    from llm.chat.sampling import Sampling

    with importing():
        from vlm.app.chat import chat_terminal

    sampling = Sampling(temperature, top_k, top_p, repetition_penalty, max_new_tokens, seed, tuple(stop or ()))
    chat_terminal(run, checkpoint, tuple(str(path) for path in image or ()), system, sampling, stream, adapter, bits)


@app.command(
    cls=ExportCommand,
    rich_help_panel=USE,
    epilog=example("eyegraft export runs/my-run exports/my-run", "eyegraft export runs/my-run exports/gguf --to gguf"),
)
def export(
    run: Run,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    dtype: Annotated[ExportDtype, typer.Option(help="Type of the weights; q8_0 is for gguf and ollama.")] = "fp32",
    checkpoint: Checkpoint = "latest",
    to: Annotated[ExportFormat, typer.Option(help=EXPORTS)] = "hf",
    force: Annotated[bool, typer.Option("--force", help="gguf: allow CLIP towers and any difference.")] = False,
    replace: Replace = False,
    base_name: Annotated[
        str, typer.Option(help="peft: the base's hub id or absolute path that the adapter names; default: where it is.")
    ] = "",
) -> None:
    """Write a run in a form that other software reads, and prove that it gives the same answers."""
    with importing():
        from vlm.export.run import export

    export(Path(run), folder, dtype, checkpoint, to, force, replace, base_name)


@app.command(rich_help_panel=USE, epilog=example("eyegraft merge Qwen/Qwen2.5-0.5B adapters/mine merged/mine"))
def merge(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A model folder or hub id.")],
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A folder with adapter_config.json.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    dtype: Annotated[Literal["fp32", "bf16"], typer.Option(help="Type of the weights.")] = "bf16",
    shard: Annotated[str, typer.Option(help="Largest file, such as 2GB.")] = "5GB",
    replace: Replace = False,
) -> None:
    """Merge any LoRA adapter into the weights of its model, and prove the result."""
    with importing():
        from llm.model.model_folder import named_folder
        from vlm.export.merge import merge

    merge(base, named_folder(str(adapter)), folder, dtype, shard, replace)


@app.command(rich_help_panel=DATA, epilog=example("eyegraft assets", "eyegraft assets smollm2 lite0 --world emoji"))
def assets(
    folder: Annotated[Path, typer.Option(help="Folder to write.")] = Path("assets"),
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of assets; default: all.")
    ] = None,
    world: Annotated[
        Literal["", "emoji"],
        typer.Option(help="Make a data set of images from npm packages; without names, nothing else is fetched."),
    ] = "",
) -> None:
    """Fetch models and data of the quickstart: once, with checksums; afterwards no network is needed."""
    from data_tools.quickstart.assets import fetch_assets

    if names or not world:
        fetch_assets(folder, names or ())
    if world:
        from data_tools.emoji.world import WORLDS

        fetch_assets(folder, [world], WORLDS)


@app.command(
    cls=RunCommand,
    rich_help_panel=TRAIN,
    epilog=example("eyegraft plan quickstart/finetune", "eyegraft plan my-run.yaml --device 24GiB --tflops 150"),
)
def plan(
    file: File,
    overrides: Overrides = None,
    device: Annotated[
        str, typer.Option(help="A card's memory in GiB, such as 24 or 24GiB, or cpu; default: this machine.")
    ] = "",
    tflops: Annotated[float, typer.Option(min=0, help="TFLOP/s it reaches; without it a CPU is measured.")] = 0.0,
    targets: Annotated[float, typer.Option(min=0, max=1, help="Share of text tokens that are trained on.")] = 1.0,
) -> None:
    """Forecast memory and time of a recipe from config files alone, with advice if it does not fit."""
    from vlm.config import load_config
    from vlm.recipes import find_recipe

    overrides = overrides or []
    config, path = load_config(file, overrides), find_recipe(file)
    with importing():
        from vlm.plan.plan import plan

    plan(config, path, device, tflops, targets)
    recipe = shlex.join([file, *overrides])
    console.next_commands(f"eyegraft train {recipe} --dry-run", f"eyegraft train {recipe}")


app.add_typer(jobs_app, name="jobs", rich_help_panel=SERVICE)
app.add_typer(data_app, name="data", rich_help_panel=DATA)
app.add_typer(eval_app)
app.add_typer(serve_app)
app.add_typer(look_app)

if __name__ == "__main__":
    main()
