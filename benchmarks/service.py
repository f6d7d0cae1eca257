"""The training service with 10,000 jobs: `python -m benchmarks.service [JOBS]`.

A store of that many jobs, each with 200 events and ten checkpoints, and as many files, is opened by a real
`eyegraft service`; another service has as many jobs that all wait. Measured are its memory and CPU time while it
idles for a minute, without and with five open event streams, and its lists over HTTP. Latencies suffer from whatever
else runs on the machine; CPU time does not, so both are reported. Results: benchmarks/results/service_scale.json.
"""

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx2

from benchmarks.service_store import fill, fill_waiting
from vlm.service.store.database import Database

RESULTS = Path("benchmarks/results/service_scale.json")
JOBS = 10_000
IDLE_S = 60.0
REQUESTS = 60  # to each list
STREAMS = 5
TOKEN = "the token of the measured service"
PACKAGES = ("fastapi", "gradio", "pydantic", "starlette", "uvicorn")
API = "/v1/fine_tuning/jobs"


def main() -> None:
    """Measure both stores and write the result of the full size."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    result: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.service", *sys.argv[1:]]),
        "day": str(date.today()),
        "machine": _machine(),
        "jobs": jobs,
    }
    for name, filled, measured in (("ended", fill, measure_all), ("waiting", fill_waiting, measure_lists)):
        with tempfile.TemporaryDirectory(prefix="eyegraft-bench-") as folder:
            result[name] = measured(Path(folder), filled, jobs)
            print(json.dumps({name: result[name]}, indent=1), flush=True)
    if jobs >= JOBS:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


Fill = Callable[[Database, int], list[str]]


def measure_all(folder: Path, filled: Fill, jobs: int) -> dict[str, Any]:
    """Idle figures, with event streams and without, then the lists."""
    names, size = _filled(folder, filled, jobs)
    found: dict[str, Any] = {"database_mib": size}
    with service(folder) as (process, client):
        found["idle"] = idle(process)
        with ExitStack() as stack:
            for name in names[:STREAMS]:
                path = f"{API}/{name}/events?stream=true"
                stream = stack.enter_context(client.stream("GET", path, timeout=None))
                next(stream.iter_lines())
            found[f"idle_with_{STREAMS}_streams"] = idle(process)
        found["lists"] = lists(process, client, names)
        found["after_lists"] = {"rss_mib": _rss_mib(process)}
    return found


def measure_lists(folder: Path, filled: Fill, jobs: int) -> dict[str, Any]:
    """The idle figures and the lists alone."""
    names, size = _filled(folder, filled, jobs)
    with service(folder) as (process, client):
        return {"database_mib": size, "idle": idle(process), "lists": lists(process, client, names)}


def _filled(folder: Path, filled: Fill, jobs: int) -> tuple[list[str], int]:
    root = folder / "root"
    root.mkdir()
    (root / "token").write_text(TOKEN)
    database = Database(root / "service.db")
    names = filled(database, jobs)
    database.close()
    return names, (root / "service.db").stat().st_size >> 20


@contextmanager
def service(folder: Path) -> Iterator[tuple[int, httpx2.Client]]:
    """A running service: its process and a client."""
    model = folder / "models" / "tiny"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "vlm.app", "service", "--models", str(model), "--root", str(folder / "root")]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    log = (folder / "log.txt").open("w")
    process = subprocess.Popen([*command, "--port", str(port)], cwd=folder, env=environment, stdout=log, stderr=log)
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {TOKEN}"}, timeout=60
    )
    try:
        last = time.monotonic() + 120
        while not _reached(client):
            assert time.monotonic() < last and process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        yield process.pid, client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()


def _reached(client: httpx2.Client) -> bool:
    with suppress(httpx2.TransportError):
        return client.get("/healthz").status_code == 200
    return False


def idle(process: int) -> dict[str, float]:
    """The share of one core and the memory of a process that gets no request for a minute."""
    time.sleep(3)
    began, before = time.perf_counter(), _cpu_s(process)
    time.sleep(IDLE_S)
    share = (_cpu_s(process) - before) / (time.perf_counter() - began)
    return {"cpu_percent_of_a_core": round(100 * share, 3), "rss_mib": _rss_mib(process)}


def lists(process: int, client: httpx2.Client, names: list[str]) -> dict[str, dict[str, float]]:
    """Milliseconds of each list: the median, the 95th percentile, and the process's CPU time a request."""
    middle, job = names[len(names) // 2], names[0]
    found = {}
    for name, path in {
        "jobs": API,
        "jobs, 100": f"{API}?limit=100",
        "jobs, 100 after the middle": f"{API}?limit=100&after={middle}",
        "jobs of a team, every second": f"{API}?limit=100&metadata[team]=even",
        "jobs of one name": f"{API}?metadata[name]=number-7",
        "jobs of no name": f"{API}?metadata[name]=none",
        "one job": f"{API}/{middle}",
        "events, 100": f"{API}/{job}/events?limit=100",
        "checkpoints, 100": f"{API}/{job}/checkpoints?limit=100",
        "files, 100": "/v1/files?limit=100",
        "files, all": "/v1/files",
        "models, all": "/v1/models",
        "webhook endpoints": "/v1/webhook_endpoints",
    }.items():
        client.get(path)  # what is read once
        before, times = _cpu_s(process), []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            answer = client.get(path)
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text
        cpu = (_cpu_s(process) - before) / REQUESTS * 1000
        median, last = quantiles(times, n=20)[9], quantiles(times, n=20)[18]
        figures = {"median_ms": median, "p95_ms": last, "cpu_ms": cpu, "kib": len(answer.content) / 1024}
        found[name] = {key: round(value, 1) for key, value in figures.items()}
    return found


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mib(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    versions = {name: version(name) for name in PACKAGES}
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    } | versions


if __name__ == "__main__":
    main()
