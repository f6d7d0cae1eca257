"""The attacked server in a process of its own, with a folder of tiny runs and canary files."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2 as httpx

from tests.demo.visit import Visit
from tests.soak.material import make_models, write_recipe
from vlm.app.cli import main as _cli  # noqa: F401  # what the server runs; an import error then shows here

TOKEN = "attack-attack-attack"
SECRET = "the secret of this machine"
START = "from vlm.app.cli import main; main()"
CONTEXT_TOKENS = 200


class Target:
    """`eyegraft web --public --token` on loopback; `folder` holds its runs, its data and the canaries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran, self.secret = folder / "RAN", folder / "tmp" / "secret.png"
        make_models(folder)
        self._make_runs()
        (folder / "tmp").mkdir()
        self.secret.write_text(SECRET)
        (folder / ".git").mkdir()
        (folder / ".git/config").write_text(SECRET)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(timeout=60, headers={"authorization": f"Bearer {TOKEN}"})

    def _make_runs(self) -> None:
        for kind in ("pretrain", "sft"):
            out = self.folder / "runs" / kind
            recipe = write_recipe(kind, self.folder, out)
            self.command("train", str(recipe), "train.max_steps=2", "train.save_every=1", "train.validate_every=0")
            assert (out / "run/report.json").exists(), f"{out}: was not trained"

    def command(self, *words: str, seconds: float = 120, yes: bool = False) -> subprocess.CompletedProcess[str]:
        """Run an eyegraft command in the folder; with `yes`, every question is answered with "y"."""
        return subprocess.run(
            [sys.executable, "-c", START, *words],
            cwd=self.folder,
            env=self._environment(),
            input="y\n" * 1000 if yes else "",
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        here = str(Path(__file__).parents[2])
        return {**os.environ, "PYTHONPATH": here, "HF_HUB_OFFLINE": "1", "TMPDIR": str(self.folder / "tmp")}

    def __enter__(self) -> Self:
        options = ["web", "--root", "runs", "--data", "pictures.json", "--public", "--token", TOKEN]
        self.log = (self.folder / "server.log").open("w")
        self.server = subprocess.Popen(
            [sys.executable, "-c", START, *options, "--port", str(self.port)],
            cwd=self.folder,
            env=self._environment(),
            stdout=self.log,
            stderr=self.log,
        )
        last = time.monotonic() + 120
        while not self._reached():
            assert time.monotonic() < last and self.server.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.kill()
        self.server.wait()
        self.log.close()
        if error is not None:
            print((self.folder / "server.log").read_text()[-3000:], file=sys.stderr)

    def _reached(self) -> bool:
        with suppress(httpx.TransportError):
            return self.client.get(f"{self.url}/healthz").status_code == 200
        return False

    def visit(self) -> Visit:
        """A visit of the page."""
        return Visit(self.url, self.client.get(f"{self.url}/config").json(), self.client)

    def ask(self, model: str = "sft/run", **more: Any) -> httpx.Response:
        """Send a question to the API."""
        body = {"model": model, "messages": [{"role": "user", "content": "What is it?"}], **more}
        return self.client.post(f"{self.url}/v1/chat/completions", json=body)

    def answers(self) -> bool:
        """Whether the server answers both models within a minute."""
        last = time.monotonic() + 60
        while time.monotonic() < last:
            with suppress(httpx.TransportError):
                if all(self.ask(model, max_tokens=4).status_code == 200 for model in ("sft/run", "pretrain/run")):
                    return True
            time.sleep(0.5)
        return False

    def settled_bytes(self) -> int:
        """Resident memory in bytes after the server has answered and is idle."""
        assert self.answers(), "the server does not answer"
        for _ in range(5):
            self.ask(max_tokens=CONTEXT_TOKENS)
        time.sleep(2)
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def canaries(self) -> list[str]:
        """The canaries that were read or run."""
        log = (self.folder / "server.log").read_text(errors="replace")
        return [*(["code of a folder"] if self.ran.exists() else []), *(["a secret"] if SECRET in log else [])]

    def end(self) -> tuple[bool, float]:
        """Send SIGTERM with a page open. Returns (whether the work folder is gone, seconds)."""
        working = Path(os.readlink(f"/proc/{self.server.pid}/cwd")).parent
        with self.client.stream("GET", f"{self.url}/gradio_api/heartbeat/attack"):
            began = time.monotonic()
            self.server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.server.wait(20)
        seconds = time.monotonic() - began
        gone = not working.exists()
        shutil.rmtree(working, ignore_errors=True)
        return gone, seconds
