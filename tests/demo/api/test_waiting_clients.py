"""Clients that wait, over real sockets: those that gave up free their places at once, the others learn when to ask."""

import inspect
import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2 as httpx
import pytest
import torch

from demo.api.app import build_api
from demo.server.generation_queue import FIRST_PACE, LONGEST_RETRY, Busy, GenerationQueue, QueueEntry
from demo.server.guard import LOOPBACK
from demo.server.limits import DEFAULT, Limits
from llm.chat.answer_text import AnswerText
from llm.chat.token_stream import Stopped, StreamedAnswer
from tests.demo.conftest import listening
from vlm.app.cli_serve import serve, service, web

WAITING = 8
LIMITS = Limits(waiting=WAITING, together=1)
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Q"}]}


class SlowModel:
    """A model whose answers are two tokens."""

    context = 1000
    encoder = SimpleNamespace(prompt=lambda messages: ([0] * 5, ()))

    def cannot_see(self, _: object) -> bool:
        return False

    def shown(self, messages: object) -> object:
        return messages

    def stream(self, messages: object, sampling: object, turn: Any, patience: float, reader: str) -> StreamedAnswer:
        def run(streamer: Any, stopped: Stopped) -> None:
            with turn(stopped):
                streamer.put(torch.tensor([0]))
                for token in (1, 2):
                    streamer.put(torch.tensor([token]))

        return StreamedAnswer(run, AnswerText(lambda ids: "a" * len(ids)), (99,), 5, patience, reader)


@contextmanager
def served(queue: GenerationQueue) -> Iterator[str]:
    with listening(build_api(queue, LOOPBACK, "", LIMITS), LIMITS) as url:
        yield url


@pytest.fixture(scope="module")
def queue() -> GenerationQueue:
    models: Any = {"m": SlowModel()}
    return GenerationQueue(models, WAITING)


@pytest.fixture(scope="module")
def url(queue: GenerationQueue) -> Iterator[str]:
    with served(queue) as url:
        yield url


def send(url: str, **more: object) -> socket.socket:
    """A connection on which a question was sent."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    body = json.dumps(ASKED | more).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def closed(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half_closed(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)


def wait(done: Callable[[], bool], seconds: float = 10) -> float:
    """Wait until `done()`; returns the seconds that it took."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() < began + seconds, "timed out"
        time.sleep(0.005)
    return time.monotonic() - began


@pytest.mark.parametrize("leave", [closed, reset, half_closed])
@pytest.mark.parametrize("stream", [False, True])
def test_clients_that_gave_up_leave_the_queue_at_once(
    queue: GenerationQueue, url: str, leave: Callable[[socket.socket], None], stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also with a large body, and even where the threads that wait look for it only after a minute."""
    for module in ("api.completion", "server.generation_queue"):
        monkeypatch.setattr(f"demo.{module}.POLL_SECONDS", 60.0)
    with queue.turn():
        dead = [send(url, stream=stream, metadata={"a": "x" * (number % 2 * 200_000)}) for number in range(WAITING)]
        wait(lambda: queue.length == WAITING + 1)
        assert httpx.post(f"{url}/v1/chat/completions", json=ASKED).status_code == 429
        for connection in dead:
            leave(connection)
        wait(lambda: queue.length == 1, 5)
        live = send(url)
        wait(lambda: queue.length == 2)
    assert b"200 OK" in live.recv(65536)
    for connection in dead:
        connection.close()
    wait(lambda: queue.length == 0)


def test_a_client_that_leaves_while_its_model_is_loaded_is_never_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, loading = threading.Event(), threading.Semaphore(0)

    class Library(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            loading.release()
            assert opened.wait(20)
            return super().__getitem__(name)

    class Counted(GenerationQueue):
        submitted = 0

        def submit(self, *args: Any, **more: Any) -> StreamedAnswer:
            Counted.submitted += 1
            return super().submit(*args, **more)

    queue = Counted(Library({"m": SlowModel()}), WAITING)
    with served(queue) as url:
        connections = [send(url) for _ in range(WAITING + 3)]
        assert all(loading.acquire(timeout=10) for _ in range(WAITING + 1))
        assert not loading.acquire(timeout=0.3), "one thread more than may wait opens models"
        assert httpx.get(f"{url}/healthz", timeout=5).status_code == 200, "the server answers meanwhile"
        for connection in connections[:-1]:
            connection.close()
        time.sleep(0.3)
        opened.set()
        assert b"200 OK" in connections[-1].recv(65536)
        assert Counted.submitted == 1
        connections[-1].close()


# When to ask again ----------------------------------------------------------------------------------------------------


def test_retry_after_is_the_measured_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before an answer was measured it is FIRST_PACE; then the mean, less what the running answer has taken."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("demo.server.generation_queue.time.monotonic", lambda: clock.now)
    queue = GenerationQueue({}, 0)

    def retry() -> int:
        with pytest.raises(Busy) as caught:
            queue.check_capacity()
        return caught.value.seconds

    with queue.turn():
        assert retry() == FIRST_PACE == 5
        clock.now += 3.5
        assert retry() == 2
        clock.now += 26.5
        assert retry() == 1, "it takes longer than expected: soon"
    for seconds in (10, 20):
        with queue.turn():
            clock.now += seconds
    with queue.turn():
        assert retry() == 20, "the mean of 30, 10 and 20"
        clock.now += 4.2
        assert retry() == math.ceil(20 - 4.2)
        clock.now += 5000
    with queue.turn():
        assert retry() == LONGEST_RETRY


def test_retry_after_of_a_visitor_whose_share_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their first question is third in the queue: two others are answered before it."""
    monkeypatch.setattr("demo.server.generation_queue.time.monotonic", lambda: 100.0)
    models: Any = {"m": SlowModel()}
    queue, entries = GenerationQueue(models, 9, share=2), []
    for visitor in ("10.0.0.1", "10.0.0.2", "10.0.0.7", "10.0.0.3", "10.0.0.7"):
        entries.append(queue._add_entry(QueueEntry(visitor)))
    with pytest.raises(Busy, match="2 of your questions are waiting already") as caught:
        queue.check_capacity("10.0.0.7")
    assert caught.value.seconds == 3 * FIRST_PACE


def test_the_response_to_a_full_queue(queue: GenerationQueue, url: str) -> None:
    with queue.turn():
        waiting = [send(url) for _ in range(WAITING)]
        wait(lambda: queue.length == WAITING + 1)
        answer = httpx.post(f"{url}/v1/chat/completions", json=ASKED)
        for connection in waiting:
            connection.close()
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "busy")
    assert 1 <= int(answer.headers["retry-after"]) <= FIRST_PACE


@pytest.mark.parametrize("command", [serve, web, service])
def test_the_commands_let_as_many_wait_as_the_limits(command: Callable[..., None]) -> None:
    given = inspect.signature(command).parameters
    assert (given["queue"].default, given["together"].default) == (DEFAULT.waiting, DEFAULT.together)


def test_the_page_takes_the_options_of_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`web` serves the API too: as many may wait, and the same sites may ask."""
    found: dict[str, Any] = {}
    monkeypatch.setattr("demo.web.web.open_web", lambda *given: found.update(limits=given[5], origins=given[6]))
    monkeypatch.setattr("demo.web.web.listen", lambda *given: found.update(heard=given[3]))
    monkeypatch.setattr("demo.web.web.private_folders", nullcontext)
    web([], tmp_path, queue=3, origin=["https://Chat.example"], together=2)
    assert found["limits"].waiting == found["heard"].waiting == 3
    assert found["limits"].together == 2
    assert found["origins"] == {"https://chat.example"}
