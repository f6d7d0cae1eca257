"""`data ask` against a server that sends too much: memory stays bounded, and large responses are not retried.

The client runs in a process of its own, whose peak memory is measured.
"""

import json
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from typing import ClassVar

import pytest

from data_tools.ask.answer_rows import InvalidAnswer, read_conversation
from data_tools.ask.client import retry_after
from data_tools.ask.journal import Journal
from llm.errors import RecordError

MIB = 1 << 20
HUGE = 256  # MiB that the server sends
GROWTH = 200  # MiB by which the client may grow; measured: 143

CHILD = """
import json, sys
from dataclasses import replace
from pathlib import Path
from data_tools.ask.ask import ask
from data_tools.ask.options import AskOptions
from data_tools.ask.rate_limit import RetryPolicy
from data_tools.ask.plan import prepare
from llm.train.process_memory import resident_peak_gib

folder, url, *rest = sys.argv[1:]
def run(name):
    plan = prepare(Path(folder, f"{name}.txt"), Path(folder, f"{name}.jsonl"), AskOptions("m", url, workers=1))
    return ask(replace(plan, retry_policy=RetryPolicy(retries=1, first=0.01, longest=0.01)))
run("small")
before = resident_peak_gib()
outcome = run("questions")
print(json.dumps([round((resident_peak_gib() - before) * 1024), outcome.progress.failed, list(outcome.progress.rows)]))
"""


def completion(text: str = "yes", refusal: str = "") -> bytes:
    message = {"role": "assistant", "content": text, "refusal": refusal or None}
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


@cache
def bomb() -> bytes:
    """HUGE MiB of spaces as gzip."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(HUGE)) + packer.flush()


def chunks() -> Iterator[bytes]:
    yield from repeat(b"100000\r\n" + b" " * MIB + b"\r\n", HUGE)
    yield b"0\r\n\r\n"


def many(item: bytes) -> bytes:
    """A completion with 4 MiB of choices."""
    return b'{"choices": [' + b",".join(repeat(item, 4 * MIB // len(item))) + b"]}"


GZIP = {"content-encoding": "gzip"}
# question -> status, headers, body, why it fails and how often it is asked
HOSTILE: dict[str, tuple[int, dict[str, str], bytes | Iterator[bytes], str, int]] = {
    "plain": (200, {"content-length": str(HUGE * MIB)}, repeat(b" " * MIB, HUGE), "larger than 16,777,216 bytes", 1),
    "chunked": (200, {"transfer-encoding": "chunked"}, chunks(), "larger than 16,777,216 bytes", 1),
    "gzip": (200, GZIP, bomb(), "larger than 16,777,216 bytes", 1),
    "error": (400, {"content-length": str(HUGE * MIB)}, repeat(b"no! " * (MIB // 4), HUGE), "400: no! no! no! ", 1),
    "gzip error": (400, GZIP, bomb(), "400: Error code: 400", 1),
    "twice gzip": (200, {"content-encoding": "gzip, gzip"}, zlib.compress(bomb(), wbits=31), "more than once", 1),
    "brackets": (200, {}, many(b"[]"), "more than 262,144 brackets", 1),
    "choices": (200, {}, many(b"1"), "not a complete chat completion", 2),
    "deep": (200, {}, b"[" * 100_000, "not a complete chat completion", 2),
    "long": (200, {}, completion("a" * 1_500_000), "1,500,000 characters, more than 1,048,576", 3),
    "refusal": (200, {}, completion(refusal="never " * 99_999), "the model refused: never", 1),
}


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    accepted: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = body["messages"][-1]["content"]
        self.asked[question] += 1
        self.accepted.add(self.headers["accept-encoding"])
        if question == "moved":
            self._send(307, {"location": self.path}, b"")
            return
        status, headers, content, _, _ = HOSTILE.get(question, (200, {}, completion(), "", 1))
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(status, headers, content)

    def _send(self, status: int, headers: dict[str, str], content: bytes | Iterator[bytes]) -> None:
        self.close_connection = True
        self.send_response(status)
        sized = {"content-length": str(len(content))} if isinstance(content, bytes) else {}
        for name, value in (headers | sized | {"connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()
        for part in [content] if isinstance(content, bytes) else content:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.asked.clear()
    _Server.accepted.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/v1"
        running.shutdown()


def test_responses_are_bounded(tmp_path: Path, server: str) -> None:
    (tmp_path / "small.txt").write_text("hello\n")
    (tmp_path / "questions.txt").write_text("\n".join(["first", *HOSTILE, "moved", "last"]))
    command = [sys.executable, "-c", CHILD, str(tmp_path), server]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-2000:]
    growth, failed, rows = json.loads(done.stdout)
    assert growth < GROWTH, f"{growth} MiB"
    reasons = dict(failed)
    for question, (_, _, _, why, times) in HOSTILE.items():
        found = reasons.pop(f'"{question}"')
        assert why in found and len(found) < 400, question
        assert _Server.asked[question] == times, question
    assert "redirects" in reasons.pop('"moved"') and _Server.asked["moved"] == 2 * 5
    assert (reasons, len(rows)) == ({}, 2), "the others are answered"
    assert _Server.accepted == {"identity"}
    assert (tmp_path / "questions.jsonl.journal").stat().st_size < 10_000


def test_a_journal_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "o.journal"
    with path.open("w") as file:
        file.write('{"key": "k", "answer": "A"}\n' + '{"key": "' + "x" * (16 * MIB) + '"}\n')
    with pytest.raises(RecordError, match=r"o\.journal:2: journal: damaged"):
        Journal(path)


@pytest.mark.parametrize(
    "header", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "9" * 5000, "Mon, 01 Jan 2024 0:0 +9"]
)
def test_a_retry_after_that_is_no_date(header: str) -> None:
    assert retry_after({"retry-after": header}) in (0, float("inf"))


TALK = '{"conversation":\n[{"question": "Q", "answer": "A"}]}'


@pytest.mark.parametrize(
    "text", [TALK, f"```json\n{TALK}\n```", f" ```\n\n{TALK}\n\n  ```\n", f"```json \n{TALK} \n```"]
)
def test_a_conversation_in_a_code_fence(text: str) -> None:
    assert read_conversation(text, 1) == [("Q", "A")]


@pytest.mark.parametrize(
    "text",
    [f"```json\n{TALK}", f"```python\n{TALK}\n```", f"see: ```\n{TALK}\n```", f"```json {TALK}```", f"{TALK}\n```"],
)
def test_an_incomplete_code_fence(text: str) -> None:
    with pytest.raises(InvalidAnswer, match="not the requested JSON"):
        read_conversation(text, 1)


def test_a_code_fence_is_found_in_linear_time() -> None:
    """A regular expression that backtracked over line breaks took half a minute."""
    begun = time.perf_counter()
    with pytest.raises(InvalidAnswer, match="not the requested JSON"):
        read_conversation("```\n" + "\n" * 3000 + "x", 1)
    assert time.perf_counter() - begun < 1
