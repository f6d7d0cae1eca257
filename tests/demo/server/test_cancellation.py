"""Answers that are stopped or not read free the device, and the server ends on SIGTERM."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from demo.model_library import ModelLibrary
from demo.server.generation_queue import Busy, GenerationQueue, QueueEntry, Recipient
from demo.server.limits import Limits
from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.chat.token_stream import Stopped, StreamedAnswer
from tests.demo.conftest import Server, listening, web_app
from tests.demo.visit import Visit

LONG = "banana, adapters off"  # it generates up to the token limit
LIMITS = Limits(new_tokens=1900, waiting=30)  # all requests of a test may wait, each for a second or more
ENDLESS = Sampling(max_new_tokens=1500)
ASKED = [{"role": "user", "content": "What is it?"}]


@pytest.fixture(scope="module")
def library(bananas: Path) -> ModelLibrary:
    library = ModelLibrary(bananas / "runs")
    assert library[LONG]
    return library


@pytest.fixture(scope="module")
def visit(library: ModelLibrary) -> Iterator[Visit]:
    with listening(web_app(library, limits=LIMITS), LIMITS) as url, httpx.Client(timeout=20) as client:
        yield Visit(url, client.get(f"{url}/config").json(), client)


def until(done: Any, seconds: float = 5) -> None:
    """Wait until `done()` is true."""
    last = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < last, "timed out"
        time.sleep(0.02)


def answers(visit: Visit) -> bool:
    """Whether the API answers a short question."""
    body = {"model": "banana", "messages": ASKED, "max_tokens": 4}
    return visit.client.post(f"{visit.url}/v1/chat/completions", json=body).status_code == 200


def hang_up(visit: Visit, pause: float) -> None:
    """Ask the API and disconnect during the answer, after `pause` seconds."""
    left, asked = time.monotonic() + pause, {"model": LONG, "messages": ASKED, "stream": True}
    with visit.client.stream("POST", f"{visit.url}/v1/chat/completions", json=asked) as answer:
        for line in answer.iter_lines():
            assert "[DONE]" not in line, "the answer ended before the client disconnected"
            if time.monotonic() > left:
                return


def test_thirty_cancelled_answers_leave_the_device_free(visit: Visit) -> None:
    """Alternately on the Compare page, whose generators gradio keeps open, and on the API, at random times."""
    chance, compare = random.Random(20), visit.event("compare-question", "submit")
    for number in range(30):
        session = f"stop{number}"
        pause = chance.uniform(0, 0.02 if number % 5 == 0 else 0.6 if number % 5 == 1 else 0.15)
        if number % 2:
            values = [{"text": "Say something.", "files": []}, LONG, LONG, "", 0, LIMITS.new_tokens, 0]
            event = visit.join(session, compare, values)
            time.sleep(pause)
            body = {"event_id": event, "session_hash": session, "fn_index": compare["id"]}
            assert visit.client.post(f"{visit.url}/gradio_api/cancel", json=body).status_code == 200
        else:
            hang_up(visit, pause)
    began = time.monotonic()
    assert answers(visit) and time.monotonic() - began < 8, "thirty complete answers take half a minute"


@pytest.fixture
def small(library: ModelLibrary) -> GenerationQueue:
    return GenerationQueue(library, waiting=2, share=2, patience=0.5)


def test_an_answer_that_is_not_read_is_abandoned(
    library: ModelLibrary, small: GenerationQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """The reply is still referenced: only the timeout ends it. The log names the visitor; the next is served."""
    held = small.submit(library[LONG], question("Say something."), ENDLESS, "10.0.0.7")
    assert held.piece()
    later = small.submit(library["banana"], question("What is it?"), Sampling(max_new_tokens=4))
    assert "".join(later), "the next request was served"
    until(lambda: small.length == 0)
    assert "10.0.0.7 is abandoned: not read for 0.5 s" in caplog.text
    assert "".join(held) and held.finish == "", "the text so far is available, without a finish reason"


def test_a_stopped_or_dropped_reply_leaves_the_queue(library: ModelLibrary, small: GenerationQueue) -> None:
    with small.turn():
        waits = small.submit(library["banana"], question("What is it?"), ENDLESS)
        assert small.length == 2 and waits.piece(0.1) == ""
        waits.stop()
        until(lambda: small.length == 1)
        forgotten = small.submit(library["banana"], question("What is it?"), ENDLESS)
        del forgotten
        until(lambda: small.length == 1)


def test_stream_text_can_be_closed_while_it_waits(library: ModelLibrary, small: GenerationQueue) -> None:
    """gradio closes a generator only between two values: they come several times a second, even before the turn."""
    with small.turn():
        stream_text = small.stream_text(library["banana"], question("What is it?"), ENDLESS)
        began = time.monotonic()
        assert next(stream_text) == "" and time.monotonic() - began < 2
        stream_text.close()
        until(lambda: small.length == 1)


def test_an_answer_whose_recipient_left_is_stopped(library: ModelLibrary, small: GenerationQueue) -> None:
    left = iter([False] * 3 + [True] * 99)
    client = Recipient("10.0.0.7", lambda: next(left))
    shown = list(small.stream_text(library[LONG], question("Say something."), ENDLESS, client))
    assert 3 <= len(shown) < 10
    until(lambda: small.length == 0)


def test_a_stopped_answer_is_reported_as_an_error(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error clients would take the partial answer for the complete one."""

    def half(reply: StreamedAnswer, _: float | None = None) -> str | None:
        if reply._over:
            return None
        reply.stop()  # as at a timeout or the end of the server
        return "half"

    monkeypatch.setattr(StreamedAnswer, "piece", half)
    body = {"model": LONG, "messages": ASKED}
    said = visit.client.post(f"{visit.url}/v1/chat/completions", json={**body, "stream": True}).text
    assert "half" in said and '"code": "stopped"' in said and "[DONE]" not in said and '"finish_reason": ""' not in said
    complete = visit.client.post(f"{visit.url}/v1/chat/completions", json=body)
    assert complete.status_code == 503 and complete.json()["error"]["code"] == "stopped"


def test_the_error_for_a_deleted_model(visit: Visit, library: ModelLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> str:
        raise FileNotFoundError("no such file")

    monkeypatch.setattr("demo.model_library.ModelWeights.stamp", gone)
    answer = visit.client.post(f"{visit.url}/v1/chat/completions", json={"model": LONG, "messages": ASKED})
    assert answer.status_code == 503 and "no longer exists" in answer.json()["error"]["message"]


def test_answers_are_generated_in_order_of_arrival(library: ModelLibrary) -> None:
    """Independent of who reads first. The test records turns: a busy machine wakes reading threads in any order."""
    served: list[QueueEntry] = []

    class Recorded(GenerationQueue):
        @contextmanager
        def _turn(self, entry: QueueEntry, stopped: Stopped) -> Iterator[None]:
            with super()._turn(entry, stopped):
                served.append(entry)
                yield

    queue = Recorded(library, waiting=8)

    def read(number: int) -> None:
        read_to_end.append(list(replies[number]))

    read_to_end: list[list[str]] = []
    with queue.turn():
        replies = [
            queue.submit(library["banana"], question("What is it?"), Sampling(max_new_tokens=2)) for _ in range(6)
        ]
        asked = list(queue._entries)
        readers = [threading.Thread(target=read, args=(number,)) for number in (3, 1, 5, 0, 2, 4)]
        for client in readers:
            client.start()
    for client in readers:
        client.join(20)
    assert len(asked) == 7 and served == asked, "the turn held by the test, then the six requests"
    assert len(read_to_end) == 6 and all(read_to_end)


def test_a_visitor_gets_only_a_share_of_the_queue(library: ModelLibrary, small: GenerationQueue) -> None:
    asked = question("What is it?")
    with small.turn("local"):
        first = [small.submit(library["banana"], asked, ENDLESS, visitor) for visitor in ("10.0.0.7", "10.0.0.8")]
        with pytest.raises(Busy, match="the queue is full"):
            small.submit(library["banana"], asked, ENDLESS, "10.0.0.9")
    small.close()
    until(lambda: small.length == 0)
    roomy = GenerationQueue(library, waiting=9, share=2)
    with roomy.turn("10.0.0.8"):
        held = [roomy.submit(library["banana"], asked, ENDLESS, "10.0.0.7") for _ in range(2)]
        with pytest.raises(Busy, match="2 of your questions are waiting already"):
            roomy.submit(library["banana"], asked, ENDLESS, "10.0.0.7")
        held.append(roomy.submit(library["banana"], asked, ENDLESS, "10.0.0.8"))
        roomy.close()
    until(lambda: roomy.length == 0)
    assert [list(reply) for reply in (*first, *held)] == [[]] * 5


def test_a_client_that_disconnects_while_waiting_leaves_the_queue(long_server: Server) -> None:
    with long_server.queue.turn(), suppress(httpx.TimeoutException), httpx.Client(timeout=0.5) as client:
        client.post(f"{long_server.url}/v1/chat/completions", json={"model": "text", "messages": ASKED})
        raise AssertionError("it was answered before its turn")
    with long_server.queue.turn():
        until(lambda: long_server.queue.length == 1)


def free_port() -> int:
    """A free port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_sigterm_ends_the_server_and_deletes_its_files(bananas: Path, tmp_path: Path) -> None:
    """During an answer and with an open page, within five seconds, and no upload is left. Its working folder is
    private; paths on the command line are relative to where it was started."""
    port, temporary = free_port(), tmp_path / "tmp"
    temporary.mkdir()
    # These packages are not needed here: importing them takes a quarter of the time.
    start = "import sys; sys.modules |= dict.fromkeys(['bitsandbytes', 'timm']); from vlm.app.cli import main; main()"
    command = [sys.executable, "-c", start, "web", "--root", "runs", "--data", "bananas.json", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3])}
    server = subprocess.Popen(command, cwd=bananas, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert server.stdout
        assert any(str(port).encode() in line for line in server.stdout)  # after what a slow machine says of imports
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(timeout=30) as client:
            until(lambda: reached(client, url), 20)
            working = Path(os.readlink(f"/proc/{server.pid}/cwd"))
            assert working.is_relative_to(temporary) and list(working.iterdir()) == []
            sent = client.post(f"{url}/gradio_api/upload", files={"files": ("a.txt", b"private", "text/plain")}).json()
            assert Path(sent[0]).read_bytes() == b"private"
            with client.stream("GET", f"{url}/gradio_api/heartbeat/abc"):
                body = {"model": LONG, "messages": ASKED, "stream": True, "max_tokens": 1900}
                with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                    assert "assistant" in next(line for line in answer.iter_lines() if line)
                    began = time.monotonic()
                    server.send_signal(signal.SIGTERM)
                    assert server.wait(10) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 5
        assert not Path(sent[0]).exists() and list(temporary.iterdir()) == []
    finally:
        server.kill()
        server.wait()


def reached(client: httpx.Client, url: str) -> bool:
    """Whether the server is up."""
    with suppress(httpx.TransportError):
        return bool(json.loads(client.get(f"{url}/healthz").text) == {"status": "ok"})
    return False
