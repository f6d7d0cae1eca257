"""`eyegraft serve` as a process of its own, and the requests that it counted."""

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EYEGRAFT = (sys.executable, "-m", "vlm.app")
PATIENCE = 180  # seconds until the models are loaded
_COUNT = re.compile(r"eyegraft_http_requests_total\{(?P<labels>[^}]*/v1/[^}]*completions[^}]*)\} (?P<number>\d+)")
_STATUS = re.compile(r'(?:status|code)="(\d+)"')


@contextmanager
def serving(models: dict[str, Path], log: Path) -> Iterator[str]:
    """Serve models by name; yields the address without /v1. Raises RuntimeError where the server ends or is late."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*EYEGRAFT, "serve", *(f"{name}={folder}" for name, folder in models.items()), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with log.open("w", encoding="utf-8") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            _wait(server, url, log)
            yield url
        finally:
            server.terminate()


def _wait(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise RuntimeError(f"the server does not answer: {log.read_text(encoding='utf-8')[-2000:]}")


def requests(url: str) -> dict[str, int]:
    """Requests for completions so far by the status of their answer, from /metrics."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: dict[str, int] = {}
    for one in _COUNT.finditer(text):
        status = _STATUS.search(one["labels"])
        assert status is not None, one["labels"]
        found[status[1]] = found.get(status[1], 0) + int(one["number"])
    return found
