"""The command `eyegraft`. Each command imports what it needs when it runs: help and validation answer at once."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from llm import console
from llm.errors import ConfigError, EyegraftError
from llm.log import log_to_console
from llm.printable import escape_output
from llm.train.process_memory import limit_kernel_caches
from vlm.app.cli_data import data_app
from vlm.app.help_format import CommandGroups, example
from vlm.export.formats import ExportDtype, ExportFormat

TRAIN, USE, DATA, LOOK = "Train", "Use", "Data", "Look"

app = typer.Typer(
    cls=CommandGroups,
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

File = Annotated[str, typer.Argument(metavar="FILE", help="A recipe file, or the name of a shipped recipe.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys of the recipe: train.batch=8.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")]
Checkpoint = Annotated[str, typer.Option(help="Name of a checkpoint, such as step-000500.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Public = Annotated[bool, typer.Option("--public", help="Allow an address that other machines can reach.")]
Token = Annotated[
    str, typer.Option(envvar="EYEGRAFT_TOKEN", help="Secret that clients send: as API key, or once as /?token=.")
]
HostName = Annotated[str, typer.Option(help="Host name under which a reverse proxy serves it, if any.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace an export of another run in DIR.")]
EXPORTS = (
    "hf: one merged Hugging Face folder. peft: a LoRA adapter, and its base where that was trained too. "
    "llava: mm_projector.bin. gguf: files for llama.cpp (SigLIP towers; Llama and Qwen LLMs). "
    "ollama: those and a Modelfile."
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe (see ls), or for cp a folder of them.")]


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and its own exit code."""
    escape_output()
    # Progress bars and advice of libraries would hide our own lines; users who want them set these variables.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    limit_kernel_caches()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        with log_to_console():
            app(prog_name="eyegraft")
    except EyegraftError as error:
        console.err(f"error: {error}")
        sys.exit(error.exit_code)


@app.command(
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
    render: Annotated[str, typer.Option(help="slurm or sky: print a job file for --nodes machines.")] = "",
    nodes: Annotated[int, typer.Option(min=1, help="Machines of the job file.")] = 2,
) -> None:
    """Train a recipe, or resume it from its last checkpoint; a pipeline runs its steps in order."""
    overrides = [*(overrides or ()), *([f"parallel={deepspeed}"] if deepspeed else ())]
    from vlm.app.launch import TrainCommand
    from vlm.config import load_config
    from vlm.recipes import find_recipe

    config, path = load_config(file, overrides), find_recipe(file)
    start = TrainCommand(path, tuple(overrides), anyway, nproc)
    if render:
        from vlm.app.cluster_script import ClusterJob, render_job

        console.out(render_job(render, ClusterJob(config.name, start, nodes)), end="")
        return
    # Imported only now, so that a faulty recipe is reported before torch is loaded.
    if dry_run:
        from vlm.plan.dry_run import dry_run as describe

        describe(config, path)
        return
    from vlm.app.pipeline import run_step

    run_step(config, start)


@app.command(
    "eval",
    rich_help_panel=TRAIN,
    epilog=example("eyegraft eval quickstart/eval", "eyegraft eval runs/my-run --data questions.json --limit 500"),
)
def evaluate(
    target: Annotated[str, typer.Argument(metavar="FILE|RUN", help="An eval recipe, or a run folder with --data.")],
    overrides: Overrides = None,
    data: Annotated[str, typer.Option(help="Image questions, in any format that training reads.")] = "",
    images: Annotated[str, typer.Option(help="Folder of their images; by default the file's own.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Number of questions; 0: all.")] = 0,
    checkpoint: Checkpoint = "latest",
) -> None:
    """Evaluate a run: by an eval recipe, or a run folder on the image questions of --data."""
    from vlm.config import EvalConfig, load_config, questions_for_run

    if data:
        config = questions_for_run(target, checkpoint, data, images, limit)
    else:
        loaded = load_config(target, overrides or ())
        if not isinstance(loaded, EvalConfig):
            raise ConfigError(f"{target}: found stage {loaded.stage}; name a recipe with `stage: eval`, or add --data")
        config = loaded
    from vlm.evaluate.run_eval import evaluate

    evaluate(config)


@app.command(rich_help_panel=USE, epilog=example("eyegraft chat runs/my-run --image photo.jpg"))
def chat(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a Hugging Face model folder.")],
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
    adapter: Annotated[str, typer.Option(help="For a model folder: a LoRA adapter saved by peft.")] = "",
    bits: Annotated[int, typer.Option(help="For a model folder: 4 or 8 quantises it while loading.")] = 0,
) -> None:
    """Chat with a model in the terminal; /image FILE adds an image, RESET clears the history, EXIT leaves."""
    if bits not in (0, 4, 8):  # before the second that importing torch takes
        raise ConfigError(f"--bits {bits}: choose 4 or 8, or leave it out")
    from llm.chat.sampling import Sampling
    from vlm.app.chat import chat_terminal

    sampling = Sampling(temperature, top_k, top_p, repetition_penalty, max_new_tokens, seed, tuple(stop or ()))
    chat_terminal(run, checkpoint, tuple(str(path) for path in image or ()), system, sampling, stream, adapter, bits)


@app.command(
    rich_help_panel=USE, epilog=example("eyegraft serve runs/my-run", "eyegraft serve small=runs/a large=exports/b")
)
def serve(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]RUN...", help="Run or model folders, each with its model name."),
    ],
    checkpoint: Checkpoint = "latest",
    host: Host = "127.0.0.1",
    port: Port = 8000,
    public: Public = False,
    token: Token = "",
    name: HostName = "",
) -> None:
    """Serve models over HTTP with OpenAI's API: /v1/chat/completions and /v1/models."""
    try:
        from demo.server.serve import serve
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft serve needs fastapi and uvicorn: pip install 'eyegraft[serve]'") from cause
    serve(runs, checkpoint, host, port, public, token, name)


@app.command(rich_help_panel=USE, epilog=example("eyegraft web --root runs --data my-data.json"))
def web(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Run folders to list first.")] = None,
    root: Annotated[Path, typer.Option(help="Folder in which runs are found.")] = Path("runs"),
    data: Annotated[list[str] | None, typer.Option(help="Data file to browse; may be repeated.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    public: Public = False,
    token: Token = "",
    name: HostName = "",
) -> None:
    """Open the web page: chat, compare models, follow runs and browse data; it serves the API of `serve` too."""
    try:
        from demo.pages.web import web
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft web needs gradio and fastapi: pip install 'eyegraft[web]'") from cause
    web(runs or [], root, data or [], host, port, public, token, name)


@app.command(
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
) -> None:
    """Write a run in a form that other software reads, and prove that it gives the same answers."""
    from vlm.export.run import export

    export(Path(run), folder, dtype, checkpoint, to, force, replace)


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
    from vlm.export.merge import merge

    difference = merge(base, adapter, folder, dtype, shard, replace)
    console.out(f"{folder}: merged, logits differ by at most {difference:.2e}")


@app.command(rich_help_panel=DATA, epilog=example("eyegraft assets"))
def assets(
    folder: Annotated[Path, typer.Option(help="Folder to write.")] = Path("assets"),
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of assets; default: all.")
    ] = None,
) -> None:
    """Fetch models and data of the quickstart: once, with checksums; afterwards no network is needed."""
    from data_tools.quickstart.assets import fetch_assets

    fetch_assets(folder, names or ())


@app.command("ls", rich_help_panel=LOOK, epilog=example("eyegraft ls", "eyegraft ls 'llava*'"))
def list_recipes(pattern: Annotated[str, typer.Argument(help="Part of a name, or a glob pattern.")] = "") -> None:
    """List the shipped recipes."""
    from vlm.recipes import list_recipes

    found = list_recipes(pattern)
    if not found:
        raise ConfigError(f"{pattern}: no recipe's name matches; `eyegraft ls` lists them all")
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        console.out(f"{recipe.name:<{width}}  {recipe.about}")


@app.command(
    "cp",
    rich_help_panel=LOOK,
    epilog=example("eyegraft cp quickstart/finetune my-run.yaml", "eyegraft cp quickstart ."),
)
def copy_recipe(name: Name, dest: Annotated[Path, typer.Argument(metavar="DEST", help="File or folder.")]) -> None:
    """Copy a shipped recipe, or a folder of them, to edit it."""
    from vlm.recipes import copy_recipe

    for path in copy_recipe(name, dest):
        console.out(path)


@app.command(rich_help_panel=LOOK, epilog=example("eyegraft show quickstart/finetune"))
def show(name: Name) -> None:
    """Print a shipped recipe with its comments."""
    from vlm.recipes import read_recipe

    console.out(read_recipe(name), end="")


@app.command(rich_help_panel=LOOK, epilog=example("eyegraft validate my-run.yaml train.batch=8"))
def validate(file: File, overrides: Overrides = None) -> None:
    """Check a recipe, or every step of a pipeline, and print it with all defaults filled in."""
    from llm.config.yaml_loader import resolve_yaml
    from vlm.config import PipelineConfig, load_config, load_steps
    from vlm.recipes import find_recipe

    config = load_config(file, overrides or ())
    if isinstance(config, PipelineConfig):
        load_steps(config, find_recipe(file))
    console.out(resolve_yaml(config), end="")


@app.command(rich_help_panel=LOOK, epilog=example("eyegraft schema finetune"))
def schema(
    stage: Annotated[str, typer.Argument(help="A stage; without it, all stages.")] = "",
) -> None:
    """Print the JSON schema of recipes, for editors and forms."""
    from vlm.config import json_schema

    console.out(json.dumps(json_schema(stage), indent=2))


@app.command(
    rich_help_panel=TRAIN,
    epilog=example("eyegraft plan quickstart/finetune", "eyegraft plan my-run.yaml --device 24GiB --tflops 150"),
)
def plan(
    file: File,
    overrides: Overrides = None,
    device: Annotated[str, typer.Option(help="A card's memory, such as 24GiB, or cpu; default: this machine.")] = "",
    tflops: Annotated[float, typer.Option(min=0, help="TFLOP/s it reaches; without it a CPU is measured.")] = 0.0,
    targets: Annotated[float, typer.Option(min=0, max=1, help="Share of text tokens that are trained on.")] = 1.0,
) -> None:
    """Forecast memory and time of a recipe from config files alone, with advice if it does not fit."""
    from vlm.config import load_config
    from vlm.recipes import find_recipe

    config, path = load_config(file, overrides or ()), find_recipe(file)
    from vlm.plan.plan import plan

    plan(config, path, device, tflops, targets)


@app.command(rich_help_panel=LOOK, epilog=example("eyegraft env"))
def env() -> None:
    """Print versions, hardware and optional packages of this installation."""
    from vlm.app.environment import describe

    for name, finding in describe():
        console.out(f"{name:<18} {finding}")


app.add_typer(data_app, name="data", rich_help_panel=DATA)

if __name__ == "__main__":
    main()
