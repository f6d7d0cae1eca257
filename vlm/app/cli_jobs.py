"""`eyegraft jobs`: training jobs of a service, over HTTP."""

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm import console
from llm.errors import ConfigError, ServiceError
from vlm.app.help_format import CommandGroups, example
from vlm.export.formats import ExportDtype, ExportFormat

if TYPE_CHECKING:
    from demo.jobs.client import ServiceClient

JOBS, RUNS, HOOKS = "/v1/fine_tuning/jobs", "/v1/x_runs", "/v1/webhook_endpoints"
DOWNLOADS, UNDER_WAY = "/v1/x_downloads", ("queued", "downloading")
LOOK_S, STEP = 1.0, 10  # seconds between two looks at a download; percent between two lines
GIB = 2**30

jobs_app = typer.Typer(
    cls=CommandGroups,
    help="Training jobs of a service: submit, list, follow, pause, resume, cancel, export, remove.",
    epilog=example("eyegraft jobs submit my-model chat.jsonl", "eyegraft jobs ls"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Job = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, a part of it that no other has, or `last` for the newest.")
]
Root = Annotated[Path, typer.Option(envvar="EYEGRAFT_SERVICE", help="Folder of the service.")]
Url = Annotated[str, typer.Option(envvar="EYEGRAFT_SERVICE_URL", help="Address of a service on another machine.")]
Token = Annotated[str, typer.Option(envvar="EYEGRAFT_TOKEN", help="Its secret; default: the one in its folder.")]
ROOT = Path("service")


@jobs_app.command(
    epilog=example(
        "eyegraft jobs submit my-model chat.jsonl",
        "eyegraft jobs submit my-run qa.json --images photos.zip train.epochs=2 tune.rank=16",
    )
)
def submit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the service, or one that it has trained.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Records, in any format that training reads.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe: train.epochs=2")
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="Further file of records that are trained on; may be repeated.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Records that are not trained on.")] = None,
    images: Annotated[Path | None, typer.Option(help="zip or tar file of the images that records name.")] = None,
    suffix: Annotated[str, typer.Option(help="Part of the trained model's name.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; default: drawn.")] = None,
    engine: Annotated[str, typer.Option(help="Where it runs; default: the service's first engine.")] = "",
    stage: Annotated[
        str, typer.Option(help="sft, finetune or pretrain; default: what the data and the model need.")
    ] = "",
    processes: Annotated[int, typer.Option(min=1, help="Processes of the job, one a slot.")] = 1,
    priority: Annotated[int, typer.Option(help="Jobs of higher priority start first.")] = 0,
    key: Annotated[str, typer.Option(help="Idempotency key: the same one again is the same job.")] = "",
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """Upload data and submit a job; it is validated, planned, and waits for a free slot."""
    from llm.formats.hub_data import local_file

    client = _client(root, url, token)
    extension: dict[str, Any] = {
        "recipe": _sections(overrides or ()),
        "processes": processes,
        "priority": priority,
        **({"engine": engine} if engine else {}),
        **({"stage": stage} if stage else {}),
        **({"images": client.upload(images, "vision")} if images else {}),
    }
    if also:
        extension["training_files"] = [client.upload(local_file(file), "fine-tune") for file in also]
    body: dict[str, Any] = {
        "model": model,
        "training_file": client.upload(local_file(data), "fine-tune"),
        **({"validation_file": client.upload(local_file(validation), "fine-tune")} if validation else {}),
        **({"suffix": suffix} if suffix else {}),
        **({"seed": seed} if seed is not None else {}),
        "x_eyegraft": extension,
    }
    job = client.post(JOBS, body, key)
    console.out(f"{job['id']}: {job['x_state']}")
    console.next_commands(f"eyegraft jobs logs {job['id']} -f", "eyegraft jobs ls")


@jobs_app.command("ls", epilog=example("eyegraft jobs ls", "eyegraft jobs ls --limit 100"))
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=100, help="The newest so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """List jobs and runs that were started by hand, newest first: how far each is, and the time until its end."""
    client = _client(root, url, token)
    found = [*client.get(JOBS, limit=limit)["data"], *client.get(RUNS, limit=limit)["data"]]
    found = sorted(found, key=lambda job: -job["created_at"])[:limit]
    if as_json:
        for job in found:
            console.out(json.dumps(job, ensure_ascii=False))
        return
    if not found:
        console.out("no jobs yet")
        console.next_commands("eyegraft jobs submit MODEL DATA")
        return
    for line in job_lines(found):
        console.out(line)


@jobs_app.command(epilog=example("eyegraft jobs show ftjob-1a2b", "eyegraft jobs show last --model"))
def show(
    job: Job,
    model: Annotated[bool, typer.Option("--model", help="Only the name of the trained model.")] = False,
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """Show a job as JSON."""
    client = _client(root, url, token)
    found = client.get(_path(_find(client, job)))
    if not model:
        console.out(json.dumps(found, ensure_ascii=False, indent=1))
        return
    if found.get("fine_tuned_model") is None:
        raise ServiceError(f"{found['id']} is {found['x_state']}: it has no model yet")
    console.out(found["fine_tuned_model"])


@jobs_app.command(epilog=example("eyegraft jobs logs ftjob-1a2b -f"))
def logs(
    job: Job,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """Print a job's events, oldest first. With -f the exit code is 1 when the job has failed."""
    client = _client(root, url, token)
    name = _find(client, job)
    if follow:
        for event in client.events(_path(name)):
            _print_event(event)
        if client.get(_path(name))["x_state"] == "failed":
            raise typer.Exit(1)
        return
    events, after = list[dict[str, Any]](), None
    while True:
        page = client.get(f"{_path(name)}/events", limit=100, after=after)
        events += page["data"]
        if not page["has_more"]:
            break
        after = page["last_id"]
    for event in reversed(events):
        _print_event(event)


@jobs_app.command(epilog=example("eyegraft jobs pause ftjob-1a2b"))
def pause(job: Job, root: Root = ROOT, url: Url = "", token: Token = "") -> None:
    """Stop a job after the step that runs, until it is resumed; it goes on exactly where it was."""
    _act("pause", job, _client(root, url, token), "eyegraft jobs resume")


@jobs_app.command(epilog=example("eyegraft jobs resume ftjob-1a2b", "eyegraft jobs resume ftjob-1a2b --engine slurm"))
def resume(
    job: Job,
    engine: Annotated[str, typer.Option(help="Where it goes on; default: where it was.")] = "",
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes from now on; with another number it is no longer the same run.")
    ] = None,
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """Put a paused job back into the queue."""
    extension = {
        **({"engine": engine} if engine else {}),
        **({"processes": processes} if processes is not None else {}),
    }
    client = _client(root, url, token)
    _act("resume", job, client, "eyegraft jobs logs -f", {"x_eyegraft": extension} if extension else None)


@jobs_app.command(epilog=example("eyegraft jobs cancel ftjob-1a2b"))
def cancel(job: Job, root: Root = ROOT, url: Url = "", token: Token = "") -> None:
    """End a job for good; its checkpoints stay."""
    _act("cancel", job, _client(root, url, token), "eyegraft jobs show")


@jobs_app.command(
    epilog=example("eyegraft jobs export last", "eyegraft jobs export ftjob-1a2b --to gguf --dtype q8_0 model.tar")
)
def export(
    job: Job,
    out: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="tar file to write; default: its name in the service.")
    ] = None,
    to: Annotated[ExportFormat, typer.Option(help="Form of the export, as for `eyegraft export`.")] = "hf",
    dtype: Annotated[
        ExportDtype | None, typer.Option(help="Type of the weights; default: fp32. q8_0 is for gguf and ollama.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="latest, best, or a step of the job.")] = "latest",
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """Export a checkpoint of a job that has ended, wait for it, and download it as a tar file."""
    client = _client(root, url, token)
    name = _find(client, job)
    number = checkpoint.removeprefix("step-")
    wanted = f"ftckpt-{name.removeprefix('ftjob-')}-{int(number)}" if number.isdecimal() else checkpoint
    body = {"checkpoint": wanted, "format": to, **({"dtype": dtype} if dtype else {})}
    found = client.post(f"{JOBS}/{name}/x_exports", body)
    address = f"{JOBS}/{name}/x_exports/{found['id']}"
    status = ""
    while found["status"] in ("queued", "running"):
        if found["status"] != status:
            status = found["status"]
            console.out(f"{found['id']}: {status}")
        time.sleep(1)
        found = client.get(address)
    if found["error"] is not None:
        raise ServiceError(found["error"]["message"])
    file = out or Path(found["filename"])
    client.download(f"{address}/content", file)
    console.out(f"{file}: {found['bytes']:,} bytes")
    console.next_commands(f"tar -xf {shlex.quote(str(file))}")


@jobs_app.command(epilog=example("eyegraft jobs rm ftjob-1a2b"))
def rm(job: Job, root: Root = ROOT, url: Url = "", token: Token = "") -> None:
    """Remove a job that has ended, with its checkpoints, its model and its result file."""
    client = _client(root, url, token)
    name = _find(client, job)
    client.delete(f"{JOBS}/{name}")
    console.out(f"{name}: removed")


@jobs_app.command(epilog=example("eyegraft jobs webhooks"))
def webhooks(root: Root = ROOT, url: Url = "", token: Token = "") -> None:
    """List the addresses that are informed when a job ends, and how many deliveries wait, arrived or were given up."""
    found = _client(root, url, token).get(HOOKS, limit=100)["data"]
    if not found:
        console.out("no webhooks yet")
        return
    for line in webhook_lines(found):
        console.out(line)


@jobs_app.command(epilog=example("eyegraft jobs resend we_1a2b", "eyegraft jobs resend we_1a2b --job last"))
def resend(
    webhook: Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, as `eyegraft jobs webhooks` lists it.")],
    job: Annotated[str, typer.Option(help="Only what reports this job.")] = "",
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """Send again what was given up for a webhook; one that was switched off is on again."""
    client = _client(root, url, token)
    body = {"job": _find(client, job)} if job else {}
    found = client.post(f"{HOOKS}/{webhook}/x_resend", body)
    console.out(f"{webhook}: {found['deliveries']} deliveries are sent again")


@jobs_app.command(
    epilog=example(
        "eyegraft jobs download Qwen/Qwen2.5-0.5B-Instruct",
        "eyegraft jobs download Qwen/Qwen2.5-0.5B-Instruct --delete",
    )
)
def download(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model of the hub: owner/name or owner/name@revision.")
    ],
    cancel: Annotated[bool, typer.Option("--cancel", help="End its download; what is there already stays.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it from the service.")] = False,
    root: Root = ROOT,
    url: Url = "",
    token: Token = "",
) -> None:
    """Let the service download a model from the hub, and wait for it; a download that has ended early goes on."""
    if cancel and delete:
        raise ConfigError("--cancel and --delete: give one of them")
    client = _client(root, url, token)
    if cancel or delete:
        found = [one for one in client.get(DOWNLOADS, limit=100)["data"] if model in (one["model"], one["id"])]
        if not found:
            raise ConfigError(f"{model}: the service has no such download; `eyegraft jobs downloads` lists them")
        path = f"{DOWNLOADS}/{found[0]['id']}"
        client.delete(path) if delete else client.post(f"{path}/cancel")
        console.out(f"{model}: {'deleted' if delete else 'cancelled'}")
        return
    _follow_download(client, client.post(DOWNLOADS, {"model": model}))


@jobs_app.command(epilog=example("eyegraft jobs downloads"))
def downloads(root: Root = ROOT, url: Url = "", token: Token = "") -> None:
    """List the models that the service has downloaded from the hub, and those that are under way."""
    found = _client(root, url, token).get(DOWNLOADS, limit=100)["data"]
    if not found:
        console.out("no downloads yet")
        console.next_commands("eyegraft jobs download MODEL")
        return
    for line in download_lines(found):
        console.out(line)


def _client(root: Path, url: str, token: str) -> "ServiceClient":
    try:
        from demo.jobs.client import ServiceClient, find_service
    except ModuleNotFoundError as cause:
        raise ConfigError("eyegraft jobs needs httpx2: pip install 'eyegraft[service]'") from cause
    return ServiceClient(find_service(root, url, token))


def _find(client: "ServiceClient", part: str) -> str:
    """The id of the one job whose id contains `part`, or of the newest for `last`; or of the outside run of that name.

    Raises ConfigError for none or several of the newest 100.
    """
    if part.startswith(("ftjob-", "xrun-")) and len(part.partition("-")[2]) == 24:
        return part
    names = [job["id"] for job in client.get(JOBS, limit=100)["data"]]
    if part == "last":
        names = names[:1]
    else:
        runs = client.get(RUNS, limit=100)["data"]
        names = [name for name in names if part in name]
        names += [run["id"] for run in runs if part == run["name"] or part in run["id"]]
    if len(names) != 1:
        found = f"{len(names)} jobs have that in their id" if names else "no job has that in its id"
        raise ConfigError(f"{part}: {found}; `eyegraft jobs ls` lists them")
    return str(names[0])


def _act(verb: str, job: str, client: "ServiceClient", then: str, body: dict[str, Any] | None = None) -> None:
    name = _find(client, job)
    found = client.post(f"{JOBS}/{name}/{verb}", body)
    console.out(f"{name}: {found['x_state']}")
    command, _, options = then.partition(" -")
    console.next_commands(f"{command} {name}" + (f" -{options}" if options else ""))


def _path(name: str) -> str:
    """The address of a job, or of a run that is none."""
    return f"{RUNS if name.startswith('xrun-') else JOBS}/{name}"


def job_lines(jobs: Sequence[dict[str, Any]]) -> list[str]:
    """Jobs as the lines of a table."""
    from llm.rich_console import clock

    rows = [("job", "state", "step", "left", "model", "submitted")]
    for job in jobs:
        progress = job["x_progress"]
        total = f"/{progress['steps']}" if progress["steps"] else ""
        step = f"{progress['step']}{total}" if progress["step"] or total else ""
        left = "" if progress["seconds_left"] is None else clock(progress["seconds_left"])
        if left and not progress["step"]:  # only a plan, which a machine with other work exceeds many times
            left = f">= {left}"
        is_job = job["object"] == "fine_tuning.job"
        state = job["x_state"] if is_job else f"outside, {job['x_state']}"
        model = (job["fine_tuned_model"] or job["model"]) if is_job else job["name"]
        rows.append((job["id"], state, step, left, model, _clock(job)))
    return _table(rows)


def webhook_lines(endpoints: Sequence[dict[str, Any]]) -> list[str]:
    """Endpoints of webhooks as the lines of a table."""
    rows = [("webhook", "state", "waiting", "delivered", "given_up", "address")]
    for one in endpoints:
        counts = [str(one["x_deliveries"][state]) for state in ("waiting", "delivered", "given_up")]
        rows.append((one["id"], "on" if one["x_switched_off_at"] is None else "off", *counts, one["url"]))
    return _table(rows)


def _follow_download(client: "ServiceClient", found: dict[str, Any]) -> None:
    """Print how far a download is until it has ended. Raises ServiceError with the reason where it has failed."""
    shown = -STEP
    while found["status"] in UNDER_WAY:
        percent = 100 * found["bytes"] // max(1, found["total_bytes"])
        if percent >= shown + STEP:
            shown = percent
            console.out(f"{found['model']}: {percent}% of {found['total_bytes'] / GIB:.2f} GiB")
        time.sleep(LOOK_S)
        found = client.get(f"{DOWNLOADS}/{found['id']}")
    if found["error"] is not None:
        raise ServiceError(found["error"]["message"])
    console.out(f"{found['model']}: {found['status']}")
    if found["kind"] == "model":
        console.next_commands(f"eyegraft jobs submit {found['model']} DATA")


def download_lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """Downloads as the lines of a table."""
    rows = [("model", "state", "here", "GiB", "kind")]
    for one in found:
        percent = f"{100 * one['bytes'] // max(1, one['total_bytes'])}%"
        rows.append((one["model"], one["status"], percent, f"{one['total_bytes'] / GIB:.2f}", one["kind"] or ""))
    return _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _sections(overrides: Sequence[str]) -> dict[str, Any]:
    """`section.key=value` as sections of a recipe, and `track=[...]`. Raises ConfigError for another form."""
    from llm.config.yaml_loader import from_mapping

    for override in overrides:
        key, given, _ = override.partition("=")
        if not given or (key.count(".") != 1 and key != "track"):
            raise ConfigError(f"{shlex.quote(override)}: write section.key=value, such as train.epochs=2")
    return dict(from_mapping({}, overrides).values)


def _print_event(event: dict[str, Any]) -> None:
    clock = time.strftime("%H:%M:%S", time.localtime(event["created_at"]))
    level = "" if event["level"] == "info" else f"{event['level']}: "
    console.out(f"{clock}  {level}{event['message']}")


def _clock(job: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(job["created_at"]))
