"""Answers that are stopped, left or never read: the device is free again, and the server ends when it is told to."""

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

LONG = "banana, adapters off"  # it talks until the limit
LIMITS = Limits(new_tokens=1900, waiting=30)  # all that are asked in a test may wait, each for a second or more
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
    """Wait for it."""
    last = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < last, "it did not happen"
        time.sleep(0.02)


def answers(visit: Visit) -> bool:
    """Whether the API answers a short question."""
    body = {"model": "banana", "messages": ASKED, "max_tokens": 4}
    return visit.client.post(f"{visit.url}/v1/chat/completions", json=body).status_code == 200


def hang_up(visit: Visit, pause: float) -> None:
    """Ask the API and leave in the midst of its answer, after so many seconds."""
    left, asked = time.monotonic() + pause, {"model": LONG, "messages": ASKED, "stream": True}
    with visit.client.stream("POST", f"{visit.url}/v1/chat/completions", json=asked) as answer:
        for line in answer.iter_lines():
            assert "[DONE]" not in line, "it was not left in its midst"
            if time.monotonic() > left:
                return


def test_thirty_stops_leave_the_device_to_the_others(visit: Visit) -> None:
    """On Compare, whose generators gradio holds on to, and on the API, in turns and at random moments."""
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
    assert answers(visit) and time.monotonic() - began < 8, "thirty whole answers take half a minute"


@pytest.fixture
def small(library: ModelLibrary) -> GenerationQueue:
    return GenerationQueue(library, waiting=2, share=2, patience=0.5)


def test_a_reader_who_stays_away_loses_the_turn(
    library: ModelLibrary, small: GenerationQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """Held, so that nothing but the time tells: it is named in the log, and the next one is answered."""
    held = small.submit(library[LONG], question("Say something."), ENDLESS, "10.0.0.7")
    assert held.piece()
    later = small.submit(library["banana"], question("What is it?"), Sampling(max_new_tokens=4))
    assert "".join(later), "it was answered behind the one that nobody reads"
    until(lambda: small.length == 0)
    assert "10.0.0.7 is given up: nobody has read it for 0.5 s" in caplog.text
    assert "".join(held) and held.finish == "", "what came before is there; it did not end by itself"


def test_one_who_waits_and_leaves_loses_the_place(library: ModelLibrary, small: GenerationQueue) -> None:
    with small.turn():
        waits = small.submit(library["banana"], question("What is it?"), ENDLESS)
        assert small.length == 2 and waits.piece(0.1) == ""
        waits.stop()
        until(lambda: small.length == 1)
        forgotten = small.submit(library["banana"], question("What is it?"), ENDLESS)
        del forgotten
        until(lambda: small.length == 1)


def test_what_waits_on_the_page_can_be_stopped(library: ModelLibrary, small: GenerationQueue) -> None:
    """gradio closes a generator only between two of its values: one comes twice a second, also before the turn."""
    with small.turn():
        stream_text = small.stream_text(library["banana"], question("What is it?"), ENDLESS)
        began = time.monotonic()
        assert next(stream_text) == "" and time.monotonic() - began < 2
        stream_text.close()
        until(lambda: small.length == 1)


def test_an_answer_whose_reader_left_is_given_up(library: ModelLibrary, small: GenerationQueue) -> None:
    left = iter([False] * 3 + [True] * 99)
    client = Recipient("10.0.0.7", lambda: next(left))
    shown = list(small.stream_text(library[LONG], question("Say something."), ENDLESS, client))
    assert 3 <= len(shown) < 10
    until(lambda: small.length == 0)


def test_an_answer_that_is_stopped_says_so(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """No end of an answer: clients would take half of one for all of it."""

    def half(reply: StreamedAnswer, _: float | None = None) -> str | None:
        if reply._over:
            return None
        reply.stop()  # as the watchdog and the end of the server do
        return "half"

    monkeypatch.setattr(StreamedAnswer, "piece", half)
    body = {"model": LONG, "messages": ASKED}
    said = visit.client.post(f"{visit.url}/v1/chat/completions", json={**body, "stream": True}).text
    assert "half" in said and '"code": "stopped"' in said and "[DONE]" not in said and '"finish_reason": ""' not in said
    whole = visit.client.post(f"{visit.url}/v1/chat/completions", json=body)
    assert whole.status_code == 503 and whole.json()["error"]["code"] == "stopped"


def test_a_model_that_is_gone_is_an_error_in_words(
    visit: Visit, library: ModelLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> str:
        raise FileNotFoundError("no such file")

    monkeypatch.setattr("demo.model_library.ModelWeights.stamp", gone)
    answer = visit.client.post(f"{visit.url}/v1/chat/completions", json={"model": LONG, "messages": ASKED})
    assert answer.status_code == 503 and "no longer exists" in answer.json()["error"]["message"]


def test_answers_are_generated_in_the_order_of_the_questions(library: ModelLibrary) -> None:
    """Whoever reads first. A busy machine wakes readers in any order: the turns are looked at, not the readers."""
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
    assert len(asked) == 7 and served == asked, "the turn that was held, then the six"
    assert len(read_to_end) == 6 and all(read_to_end)


def test_a_visitor_has_a_share_of_the_queue(library: ModelLibrary, small: GenerationQueue) -> None:
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


def test_a_client_that_waits_for_its_turn_and_leaves_is_noticed(long_server: Server) -> None:
    with long_server.queue.turn(), suppress(httpx.TimeoutException), httpx.Client(timeout=0.5) as client:
        client.post(f"{long_server.url}/v1/chat/completions", json={"model": "text", "messages": ASKED})
        raise AssertionError("it was answered out of turn")
    with long_server.queue.turn():
        until(lambda: long_server.queue.length == 1)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_server_ends_when_it_is_told_to_and_takes_its_files_along(bananas: Path, tmp_path: Path) -> None:
    """In the midst of an answer, with a page open: in five seconds, and no upload is left; it works in a folder of
    its own, while what it was started with is found from where it was started."""
    port, temporary = free_port(), tmp_path / "tmp"
    temporary.mkdir()
    # What the server has no use for is not there: importing it takes a quarter of the time.
    start = "import sys; sys.modules |= dict.fromkeys(['bitsandbytes', 'timm']); from vlm.app.cli import main; main()"
    command = [sys.executable, "-c", start, "web", "--root", "runs", "--data", "bananas.json", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3])}
    server = subprocess.Popen(command, cwd=bananas, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert server.stdout and str(port) in server.stdout.readline().decode()
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
