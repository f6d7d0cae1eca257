"""Serve tiny models, let each client of another environment have its conversations, and write what passed.

python -m tests.clients build/clients/bin/python
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from demo.api.app import build_api
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import LOOPBACK
from demo.server.limits import Limits
from tests.demo.conftest import listening, noise_image
from tests.soak.table import revision
from tests.vlm.conftest import save_clip, save_llm
from tests.vlm.runs import recipe
from vlm.model.open_chat_model import open_chat_model
from vlm.model.runs import open_model

CLIENTS = ("openai", "litellm", "langchain", "inspect", "lm_eval")
RESULTS = Path("docs/reference/clients.json")
LIMITS = Limits(new_tokens=32)
SECONDS = 300  # for one client


def main() -> None:
    """Run every client, print its outcomes and write them; exits with 1 unless all passed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="eyegraft-clients-") as name:
        folder = Path(name)
        image, llm = folder / "image.png", save_llm(folder / "llm", 300, tied=False)
        image.write_bytes(noise_image(1))
        with listening(build_api(_queue(folder, llm), LOOPBACK, limits=LIMITS), LIMITS) as url:
            found = [_run(options.python, client, f"{url}/v1", image, llm) for client in options.clients]
    document = {"revision": revision(), "machine": f"{platform.machine()}, Python {platform.python_version()}"}
    options.out.write_text(json.dumps({**document, "clients": found}, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(outcome != "passed" for one in found for outcome in one["checks"].values()))


def _queue(folder: Path, llm: Path) -> GenerationQueue:
    unwritten = folder / "none"
    eyes = open_model(recipe(llm, save_clip(folder / "clip"), unwritten, unwritten, "finetune")).chat_model
    return GenerationQueue({"eyes": eyes, "text": open_chat_model(llm)}, LIMITS.waiting)


def _run(python: str, client: str, url: str, image: Path, llm: Path) -> dict[str, Any]:
    """What `tests/clients/with_CLIENT.py` printed."""
    command = [python, "-m", f"tests.clients.with_{client}", url, str(image), str(llm)]
    quiet = {"HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_API_KEY": "none"}
    done = subprocess.run(
        command, env=os.environ | quiet, capture_output=True, text=True, timeout=SECONDS, check=False
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"client"')]
    if not lines:
        sys.exit(f"{client}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    for check, outcome in found["checks"].items():
        print(f"{client} {found['version']}: {check}: {outcome}", flush=True)
    if set(found["checks"].values()) != {"passed"}:
        print(done.stderr[-4000:], file=sys.stderr)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="interpreter of the clients' environment")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file to write")
    parser.add_argument("clients", nargs="*", default=CLIENTS, help="all by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
