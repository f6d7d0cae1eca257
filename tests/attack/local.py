"""Attacks on the commands: hostile model folders, files and servers named on the command line."""

import gzip
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attack.result import AttackResult
from tests.attack.target import Target

SECONDS = 60  # until a command must end; starting one takes ten
ENDED = (1, 2, 3, 4)  # exit codes of reported errors
Break = Callable[[Path], object]


def attack_commands(target: Target) -> Iterator[AttackResult]:
    """Attack each command."""
    yield model_folders(target)
    yield foreign_folders(target)
    yield special_files(target)
    yield servers(target)


def _code(folder: Path) -> str:
    return f"open({str(folder.parent.parent / 'RAN')!r}, 'w').write('x')\n"


def _own_code(folder: Path) -> None:
    _config(folder, model_type="mine", auto_map={"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"})
    (folder / "mine.py").write_text(_code(folder))


def _own_processor(folder: Path) -> None:
    _config(folder, vision_config={}, image_token_index=3)
    (folder / "processor_config.json").write_text(json.dumps({"auto_map": {"AutoProcessor": "mine.P"}}))
    (folder / "mine.py").write_text(_code(folder))


def _template(text: str) -> Break:
    def write(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": text}))
        (folder / "chat_template.jinja").unlink(missing_ok=True)

    return write


def _config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _pipe(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


FOLDERS: dict[str, Break] = {
    "own code": _own_code,
    "own processor": _own_processor,
    "endless template": _template("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
    "huge template": _template("{{ 'x' * 10 ** 10 }}"),
    "a billion layers": lambda folder: _config(folder, num_hidden_layers=10**9),
    "a huge vocabulary": lambda folder: _config(folder, vocab_size=10**12),
    "no heads": lambda folder: _config(folder, num_attention_heads=0),
    "a list": lambda folder: (folder / "config.json").write_text("[]"),
    "brackets": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "a pipe": _pipe,
}


def model_folders(target: Target) -> AttackResult:
    """Chat with hostile model folders, answering yes to every question."""
    wrong, slowest = [], 0.0
    for name, spoil in FOLDERS.items():
        folder = target.folder / "hostile" / name.replace(" ", "-")
        shutil.copytree(target.folder / "llama", folder)
        spoil(folder)
        code, seconds = _timed(target, "chat", str(folder), yes=True)
        slowest = max(slowest, seconds)
        if code not in ENDED:
            wrong.append(f"{name}: exit code {code}")
    return AttackResult(
        "model folders", not wrong, f"{len(FOLDERS)} folders, slowest {slowest:.0f} s, wrong: {wrong or 'none'}"
    )


def _timed(target: Target, *words: str, yes: bool = False) -> tuple[int | str, float]:
    """The exit code, "endless" or "traceback"; and the seconds."""
    began = time.monotonic()
    try:
        done = target.command(*words, seconds=SECONDS, yes=yes)
    except subprocess.TimeoutExpired:
        return "endless", time.monotonic() - began
    traceback = "Traceback (most recent call last)" in done.stderr
    return "traceback" if traceback else done.returncode, time.monotonic() - began


def foreign_folders(target: Target) -> AttackResult:
    """Train into and export over a folder with other files, and write through links."""
    foreign, recipe = target.folder / "foreign", target.folder / "runs/sft/recipe.yaml"
    files = {"config.json": "{}", "config.yaml": "mine: 1", "metrics.jsonl": "mine", "notes.txt": "mine"}
    foreign.mkdir()
    for name, text in files.items():
        (foreign / name).write_text(text)
    linked, victim = target.folder / "linked", target.folder / "victim.txt"
    victim.write_text("mine")
    linked.mkdir()
    for name in ("writer.lock", "metrics.jsonl", "loss.png"):
        (linked / name).symlink_to(victim)
    run = str(target.folder / "runs/sft/run")
    codes = [
        _timed(target, "export", run, str(foreign))[0],
        _timed(target, "train", str(recipe), f"out={foreign}", "train.max_steps=1")[0],
        _timed(target, "train", str(recipe), f"out={linked}", "train.max_steps=1", "--anyway")[0],
    ]
    unchanged = {name: (foreign / name).read_text() for name in files if (foreign / name).exists()} == files
    held = unchanged and victim.read_text() == "mine" and all(code in ENDED for code in codes)
    return AttackResult("foreign folders", held, f"exit codes {codes}, all files unchanged: {unchanged}")


def special_files(target: Target) -> AttackResult:
    """Data files that are a pipe, a device, or a sparse terabyte."""
    folder = target.folder / "special"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "zero.json").symlink_to("/dev/zero")
    with (folder / "sparse.json").open("wb") as sparse:
        sparse.truncate(2**40)
    codes = {name: _timed(target, "data", "check", str(folder / name))[0] for name in os.listdir(folder)}
    return AttackResult("special files", all(code in ENDED for code in codes.values()), f"exit codes {codes}")


def servers(target: Target) -> AttackResult:
    """`data ask` against a server that sends gigabytes, plain and compressed."""
    (target.folder / "questions.txt").write_text("What?\n")
    codes = {}
    with _flood() as url:
        for name in ("plain", "gzip"):
            words = ["data", "ask", str(target.folder / "questions.txt"), str(target.folder / f"{name}.jsonl")]
            codes[name] = _timed(target, *words, "--base-url", f"{url}/{name}", "--model", "m")[0]
    return AttackResult("servers", all(code in (0, *ENDED) for code in codes.values()), f"exit codes {codes}")


@contextmanager
def _flood() -> Iterator[str]:
    """A server that answers with three gigabytes, plain or as a few megabytes of gzip."""
    compressed = gzip.compress(bytes(16 * 2**20), 9)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            packed = self.path.startswith("/gzip")
            self.send_response(200)
            self.send_header("content-type", "application/json")
            if packed:
                self.send_header("content-encoding", "gzip")
            self.end_headers()
            try:
                for _ in range(192):
                    self.wfile.write(compressed if packed else bytes(16 * 2**20))
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
