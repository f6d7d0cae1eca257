"""The attacked training service: a real process with tiny models, and canaries beside its folder."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2 as httpx

from tests.attack.target import SECRET, START
from tests.soak.material import make_models

TOKEN = "the-token-of-the-attacked-service"
OTHER_SECRETS = {"OPENAI_API_KEY": "sk-of-another-program"}
JOBS = "/v1/fine_tuning/jobs"
PATIENCE_S = 300.0


class ServiceTarget:
    """`eyegraft service` on loopback. `folder`/root is its folder; nothing else below `folder` may change."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.canary = folder, folder / "root", folder / "canary"
        self.models, self.secret = folder / "models", folder / "outside" / "secret.png"
        for name in ("home", "tmp", "work", "outside", "root", "models"):
            (folder / name).mkdir()
        make_models(self.models)
        self.secret.write_text(SECRET)
        (self.root / "token").write_text(TOKEN)
        (self.root / "token").chmod(0o600)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60, headers={"authorization": f"Bearer {TOKEN}"})

    def __enter__(self) -> Self:
        options = ["service", "--models", str(self.models), "--root", str(self.root), "--port", str(self.port)]
        environment = {
            **os.environ, **OTHER_SECRETS, "EYEGRAFT_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        self.log = (self.root / "service.log").open("w")
        self.server = subprocess.Popen(
            [sys.executable, "-c", START, *options],
            cwd=self.folder / "work",
            env=environment,
            stdout=self.log,
            stderr=self.log,
        )
        self.wait("the service to start", self._reached)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.terminate()
        self.server.wait(30)
        self.log.close()
        if error is not None:
            print((self.root / "service.log").read_text()[-3000:], file=sys.stderr)

    def _reached(self) -> bool:
        assert self.server.poll() is None, (self.root / "service.log").read_text()
        with suppress(httpx.TransportError):
            return self.client.get("/healthz").status_code == 200
        return False

    def wait(self, what: str, until: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        """Wait until a condition holds."""
        last = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < last, f"{what}: not within {seconds:g} s"
            time.sleep(0.1)

    def upload(self, name: str, content: bytes, purpose: str) -> str:
        """Upload a file and return its id, or the message of the refusal."""
        answer = self.client.post("/v1/files", data={"purpose": purpose}, files={"file": (name, content)})
        found: dict[str, Any] = answer.json()
        return str(found["id"] if answer.status_code == 200 else found["error"]["message"])

    def submit(self, file: str, **extension: object) -> str:
        """Submit a job and return its id."""
        body = {"model": "llama", "training_file": file, "x_eyegraft": extension}
        answer = self.client.post(JOBS, json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def job(self, name: str) -> dict[str, Any]:
        """A job that has ended."""
        found: dict[str, Any] = {}

        def ended() -> bool:
            found.update(self.client.get(f"{JOBS}/{name}").json())
            return found["status"] in ("succeeded", "failed", "cancelled")

        self.wait(f"the end of {name}", ended)
        return found

    def everything_outside(self) -> dict[str, str]:
        """Every file beside the service's own folder, by a digest of its content."""
        files = [path for path in self.folder.rglob("*") if not path.is_relative_to(self.root)]
        return {str(path): _digest(path) for path in files if not path.is_relative_to(self.folder / "tmp")}

    def files_with(self, text: str) -> list[str]:
        """The files of the service's folder that hold a text, the token's own aside."""
        found = [path for path in self.root.rglob("*") if path.is_file() and path != self.root / "token"]
        return [str(path.relative_to(self.root)) for path in found if text.encode() in path.read_bytes()]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path.lstat().st_mode)
