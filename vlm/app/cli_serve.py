"""The commands that answer requests until they are stopped: serve, web, service, with the options that they share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from llm.activity import importing
from llm.errors import ConfigError
from vlm.app.help_format import CommandGroups, example
from vlm.app.limit_options import LimitOptions, with_limits

USE, SERVICE = "Use", "Service"
LIMITS = LimitOptions()
serve_app = typer.Typer(cls=CommandGroups, rich_markup_mode=None)

Checkpoint = Annotated[str, typer.Option(help="Name of a checkpoint, such as step-000500, latest or best.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Public = Annotated[bool, typer.Option("--public", help="Allow an address that other machines can reach.")]
Token = Annotated[
    str, typer.Option(envvar="EYEGRAFT_TOKEN", help="Secret that clients send: as API key, or once as /?token=.")
]
HostName = Annotated[str, typer.Option(help="Host name under which a reverse proxy serves it, if any.")]
Origins = Annotated[
    list[str] | None, typer.Option(help="Site whose pages may use the API: https://chat.example; may be repeated.")
]
Hub = Annotated[
    str,
    typer.Option(
        help="Models that may be downloaded from the hub: off, on, or owners (Qwen,google). Default: on, and off where "
        "other machines can reach the service."
    ),
]
Adapter = Annotated[
    str, typer.Option(help="For a model folder: a LoRA adapter, as peft or `export --to peft` wrote it.")
]
Bits = Annotated[int, typer.Option(help="4 or 8 quantises the weights; adapters of runs stay above them.")]


def check_bits(bits: int) -> None:
    """Raise ConfigError for a number of bits that weights cannot have; before the second that importing torch takes."""
    if bits not in (0, 4, 8):
        raise ConfigError(f"--bits {bits}: choose 4 or 8, or leave it out")


@serve_app.command(
    rich_help_panel=USE, epilog=example("eyegraft serve runs/my-run", "eyegraft serve small=runs/a large=exports/b")
)
@with_limits
def serve(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]RUN...", help="Run, model or adapter folders, each with its model name."),
    ],
    checkpoint: Checkpoint = "latest",
    host: Host = "127.0.0.1",
    port: Port = 8000,
    public: Public = False,
    token: Token = "",
    name: HostName = "",
    origin: Origins = None,
    adapter: Adapter = "",
    bits: Bits = 0,
    limits: LimitOptions = LIMITS,
) -> None:
    """Serve models over HTTP with OpenAI's API: chat and text completions, and the list of models."""
    check_bits(bits)
    try:
        with importing():
            from demo.api.serve import serve
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft serve needs fastapi and uvicorn: pip install 'eyegraft[serve]'") from cause
    serve(runs, checkpoint, host, port, public, token, name, limits.limits(public), origin or [], adapter, bits)


@serve_app.command(rich_help_panel=USE, epilog=example("eyegraft web --root runs --data my-data.json"))
@with_limits
def web(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Run folders to list first.")] = None,
    root: Annotated[Path, typer.Option(help="Folder in which runs are found.")] = Path("runs"),
    data: Annotated[list[str] | None, typer.Option(help="Data file to browse; may be repeated.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    public: Public = False,
    token: Token = "",
    name: HostName = "",
    origin: Origins = None,
    limits: LimitOptions = LIMITS,
) -> None:
    """Open the web page: chat, compare models, follow runs and browse data; it serves the API of `serve` too."""
    try:
        with importing():
            from demo.web.web import web
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft web needs gradio and fastapi: pip install 'eyegraft[web]'") from cause
    from llm.formats.hub_data import local_file

    browsed = [str(local_file(path)) for path in data or []]
    web(runs or [], root, browsed, host, port, public, token, name, limits.limits(public), origin or [])


@serve_app.command(
    rich_help_panel=SERVICE,
    epilog=example("eyegraft service --models assets", "eyegraft service --root /data/jobs --models /data/models"),
)
@with_limits
def service(
    models: Annotated[
        list[Path], typer.Option(help="Folder with models and runs that jobs may start from; may be repeated.")
    ],
    root: Annotated[
        Path, typer.Option(envvar="EYEGRAFT_SERVICE", help="Folder of the service: its jobs, files and secret.")
    ] = Path("service"),
    engine: Annotated[
        Literal["local", "slurm"], typer.Option(help="Where jobs run that name no engine: here, or under Slurm.")
    ] = "local",
    allow_hub: Annotated[
        list[str] | None, typer.Option(help="Hub id that jobs may start from; may be repeated.")
    ] = None,
    hub: Hub = "",
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder whose runs, started by hand, are listed; may be repeated. Default: runs and --models."
        ),
    ] = None,
    slurm_option: Annotated[
        list[str] | None, typer.Option(help="Option of sbatch, such as --partition=gpu; may be repeated.")
    ] = None,
    stop_grace: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds in which the training of a paused or cancelled job must stop; then it is killed."
        ),
    ] = 120,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    public: Public = False,
    name: HostName = "",
    limits: LimitOptions = LIMITS,
) -> None:
    """Take training jobs by OpenAI's fine-tuning API, queue and run them, and serve the models that they train."""
    try:
        with importing():
            from demo.job_pages.mount import mount_pages
            from demo.jobs.launch import serve_jobs
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft service needs fastapi and uvicorn: pip install 'eyegraft[service]'") from cause
    from vlm.service.trainable_models import find_models

    trainable, watched = find_models(models, allow_hub or []), _run_roots(runs, models)
    serve_jobs(
        root,
        trainable,
        engine,
        slurm_option or [],
        host,
        port,
        public,
        name,
        limits.limits(public),
        mount_pages,
        watched,
        stop_grace,
        hub,
    )


def _run_roots(given: list[Path] | None, models: list[Path]) -> list[Path]:
    """The folders in which runs are looked for. Raises ConfigError for a given one that is not there."""
    for root in given or ():
        if not root.is_dir():
            raise ConfigError(f"--runs {root}: there is no such folder")
    return [Path("runs"), *models] if given is None else given
