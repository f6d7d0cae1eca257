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
from llm.printable import guard_output
from llm.train.kernels import limit_kernel_caches
from vlm.app.cli_data import data_app

app = typer.Typer(
    help="Give a language model eyes: train, evaluate, chat with and export it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")

File = Annotated[str, typer.Argument(metavar="FILE", help="A recipe's file, or the name of a shipped recipe.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example train.batch=8.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")]
Checkpoint = Annotated[str, typer.Option(help="A checkpoint's name, such as step-000500.")]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
Public = Annotated[bool, typer.Option("--public", help="Allow an address that others can reach.")]
Token = Annotated[str, typer.Option(envvar="EYEGRAFT_TOKEN", help="What others must show: API key, or /?token=.")]
HostName = Annotated[str, typer.Option(help="The host name behind which it stands, if any.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of an export of something else.")]
EXPORTS = (
    "hf: one merged folder. peft: an adapter, and its base where that is ours. llava: mm_projector.bin. "
    "gguf: files for llama.cpp (SigLIP towers; Llama and Qwen LLMs). ollama: those and a Modelfile."
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A recipe, or for cp a folder of recipes; see ls.")]


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and its own exit code."""
    guard_output()
    # The bars and advice of libraries would drown our own lines; whoever wants them sets these.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    limit_kernel_caches()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        with log_to_console():
            app()
    except EyegraftError as error:
        console.err(f"error: {error}")
        sys.exit(error.exit_code)


@app.command()
def train(
    file: File,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Go on though recipe or data changed.")] = False,
    nproc: Annotated[int, typer.Option(min=0, help="Processes of this machine that share the run; 0: this one.")] = 0,
    deepspeed: Annotated[str, typer.Option(help="zero1, zero2, zero2_offload, zero3 or zero3_offload.")] = "",
    render: Annotated[str, typer.Option(help="slurm or sky: print a file that starts it on --nodes machines.")] = "",
    nodes: Annotated[int, typer.Option(min=1, help="Machines, for --render.")] = 2,
) -> None:
    """Train a recipe, or go on where it stopped; a pipeline runs its steps in order."""
    overrides = [*(overrides or ()), *([f"parallel={deepspeed}"] if deepspeed else ())]
    from vlm.app.launch import Start
    from vlm.config import load_config
    from vlm.recipes import find_recipe

    config, path = load_config(file, overrides), find_recipe(file)
    start = Start(path, tuple(overrides), anyway, nproc)
    if render:
        from vlm.app.cluster_script import Job
        from vlm.app.cluster_script import render as render_job

        console.out(render_job(render, Job(config.name, start, nodes)), end="")
        return
    # Only now: a faulty recipe should not wait for torch.
    from vlm.app.pipeline import run_step
    from vlm.plan.dry_run import dry_run as describe

    if dry_run:
        describe(config, path)
    else:
        run_step(config, start)


@app.command("eval")
def evaluate(
    target: Annotated[str, typer.Argument(metavar="FILE|RUN", help="An eval recipe, or a run folder with --data.")],
    overrides: Overrides = None,
    data: Annotated[str, typer.Option(help="Image questions to ask the run, in any format training reads.")] = "",
    images: Annotated[str, typer.Option(help="The folder their image paths are relative to.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="How many questions; 0 asks all.")] = 0,
    checkpoint: Checkpoint = "latest",
) -> None:
    """Measure a run: an eval recipe, or a run folder on the questions of --data."""
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


@app.command()
def chat(
    run: Run,
    image: Annotated[list[Path] | None, typer.Option(help="A picture to talk about; may be repeated.")] = None,
    checkpoint: Checkpoint = "latest",
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="Choose among the k likeliest; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Choose among the likeliest that make up p.")] = 1.0,
    repetition_penalty: Annotated[float, typer.Option(min=0.01, help="Above 1, tokens seen become unlikelier.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 256,
    seed: Annotated[int, typer.Option()] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer; may be repeated.")] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Show the answer as it grows.")] = True,
    adapter: Annotated[str, typer.Option(help="A LoRA adapter of peft, for a model folder.")] = "",
    bits: Annotated[int, typer.Option(help="4 or 8: quantise a model folder while loading.")] = 0,
) -> None:
    """Talk to a trained model in the terminal; /image FILE shows a picture, RESET starts anew, EXIT leaves."""
    if bits not in (0, 4, 8):
        raise ConfigError(f"--bits {bits}: choose 4 or 8, or leave it out")
    from llm.chat.sampling import Sampling
    from vlm.app.chat import chat_terminal

    sampling = Sampling(temperature, top_k, top_p, repetition_penalty, max_new_tokens, seed, tuple(stop or ()))
    chat_terminal(run, checkpoint, tuple(str(path) for path in image or ()), system, sampling, stream, adapter, bits)


@app.command()
def serve(
    runs: Annotated[list[str], typer.Argument(metavar="[NAME=]RUN...", help="Run folders or exported folders.")],
    checkpoint: Checkpoint = "latest",
    host: Host = "127.0.0.1",
    port: Port = 8000,
    public: Public = False,
    token: Token = "",
    name: HostName = "",
) -> None:
    """Answer over HTTP as OpenAI's API does: /v1/chat/completions, /v1/models."""
    try:
        from demo.server.serve import serve
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft serve needs fastapi and uvicorn: pip install 'eyegraft[serve]'") from cause
    serve(runs, checkpoint, host, port, public, token, name)


@app.command()
def web(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Folders to list first.")] = None,
    root: Annotated[Path, typer.Option(help="Where runs are looked for.")] = Path("runs"),
    data: Annotated[list[str] | None, typer.Option(help="Data to look at and ask about; may be repeated.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    public: Public = False,
    token: Token = "",
    name: HostName = "",
) -> None:
    """Chat, compare models, watch runs and look at data in the browser; the API of `serve` is there too."""
    try:
        from demo.pages.web import web
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft web needs gradio and fastapi: pip install 'eyegraft[web]'") from cause
    web(runs or [], root, data or [], host, port, public, token, name)


@app.command()
def export(
    run: Run,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    dtype: Annotated[
        Literal["fp32", "bf16", "q8_0"], typer.Option(help="The weights' type; q8_0 is for gguf and ollama.")
    ] = "fp32",
    checkpoint: Checkpoint = "latest",
    to: Annotated[Literal["hf", "peft", "llava", "gguf", "ollama"], typer.Option(help=EXPORTS)] = "hf",
    force: Annotated[bool, typer.Option("--force", help="gguf: write a CLIP tower, and any difference.")] = False,
    replace: Replace = False,
) -> None:
    """Write a run for others to use, and prove that it answers alike."""
    from vlm.export.run import export

    export(Path(run), folder, dtype, checkpoint, to, force, replace)


@app.command()
def merge(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A model folder or hub id.")],
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A folder with adapter_config.json.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    dtype: Annotated[Literal["fp32", "bf16"], typer.Option(help="The weights' type.")] = "bf16",
    shard: Annotated[str, typer.Option(help="The largest file, such as 2GB.")] = "5GB",
    replace: Replace = False,
) -> None:
    """Put any LoRA adapter into its model's weights, ours or not, and prove it."""
    from vlm.export.merge import merge

    apart = merge(base, adapter, folder, dtype, shard, replace)
    console.out(f"{folder}: merged, logits differ by at most {apart:.2e}")


@app.command("ls")
def list_recipes(pattern: Annotated[str, typer.Argument(help="A part of the name, or a glob.")] = "") -> None:
    """List the recipes that ship with Eyegraft."""
    from vlm.recipes import list_recipes

    found = list_recipes(pattern)
    if not found:
        raise ConfigError(f"{pattern}: no recipe's name matches; `eyegraft ls` lists them all")
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        console.out(f"{recipe.name:<{width}}  {recipe.about}")


@app.command("cp")
def copy_recipe(name: Name, dest: Annotated[Path, typer.Argument(metavar="DEST")]) -> None:
    """Copy a recipe, or a whole folder of them, to edit it."""
    from vlm.recipes import copy_recipe

    for path in copy_recipe(name, dest):
        console.out(path)


@app.command()
def show(name: Name) -> None:
    """Print a recipe as it was written."""
    from vlm.recipes import read_recipe

    console.out(read_recipe(name), end="")


@app.command()
def validate(file: File, overrides: Overrides = None) -> None:
    """Check a recipe, and every step of a pipeline; print it with all defaults filled in."""
    from llm.config.yaml_loader import resolve_yaml
    from vlm.config import PipelineConfig, load_config, load_steps
    from vlm.recipes import find_recipe

    config = load_config(file, overrides or ())
    if isinstance(config, PipelineConfig):
        load_steps(config, find_recipe(file))
    console.out(resolve_yaml(config), end="")


@app.command()
def schema(stage: Annotated[str, typer.Argument(help="One stage; all of them without.")] = "") -> None:
    """Print the JSON schema of recipes."""
    from vlm.config import json_schema

    console.out(json.dumps(json_schema(stage), indent=2))


@app.command()
def plan(
    file: File,
    overrides: Overrides = None,
    device: Annotated[str, typer.Option(help="A card's memory, such as 8GiB, or cpu; this machine's when empty.")] = "",
    tflops: Annotated[float, typer.Option(min=0, help="What the device reaches; a CPU is measured without it.")] = 0.0,
    targets: Annotated[float, typer.Option(min=0, max=1, help="The share of text rows that are learnt.")] = 1.0,
) -> None:
    """Forecast memory and work of a recipe from config files alone, and say what to change if it does not fit."""
    from vlm.config import load_config
    from vlm.recipes import find_recipe

    config, path = load_config(file, overrides or ()), find_recipe(file)
    from vlm.plan.plan import plan

    plan(config, path, device, tflops, targets)


@app.command()
def env() -> None:
    """Say what this machine and this installation offer."""
    from vlm.app.environment import describe

    for name, finding in describe():
        console.out(f"{name:<18} {finding}")


@app.command()
def assets(
    folder: Annotated[Path, typer.Option(help="Where they are kept.")] = Path("assets"),
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; all without.")] = None,
) -> None:
    """Fetch what the quickstart trains on: once, checksummed, offline afterwards."""
    from data_tools.quickstart.assets import fetch_assets

    fetch_assets(folder, names or ())
