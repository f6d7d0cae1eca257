"""A server that implements chat completions and fails in the way a script asks for."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal


@dataclass(frozen=True)
class ReceivedRequest:
    """One request: its text, how often that came before, body, headers, time and images."""

    text: str
    times: int
    body: dict[str, Any]
    headers: dict[str, str]  # names in lower case
    at: float
    images: tuple[str, ...]


@dataclass(frozen=True)
class Act:
    """A response. `half` announces more bytes than it sends; `body` replaces the completion."""

    text: str = ""
    finish: str | None = "stop"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    how: Literal["whole", "half", "close"] = "whole"
    body: bytes | None = None
    refusal: str | None = None

    @property
    def counts(self) -> bool:
        """Whether the response is a valid answer."""
        good = self.status == 200 and self.how == "whole" and self.body is None
        return good and self.finish == "stop" and bool(self.text)

    def content(self, model: str) -> bytes:
        if self.body is not None:
            return self.body
        if self.status != 200:
            return json.dumps({"error": {"message": self.text, "type": "x", "code": None}}).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": model}
        return json.dumps({**head, "choices": [choice], "usage": usage}, ensure_ascii=False).encode()


Script = Callable[[ReceivedRequest], Act]


class Stub:
    """Follows a script; `asked` are all requests in order, `answered` counts the answers of each text."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[ReceivedRequest] = []
        self.answered: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.url = ""

    def times(self, text: str) -> int:
        """How often `text` was requested."""
        return sum(one.text == text for one in self.asked)

    def hear(self, body: dict[str, Any], headers: dict[str, str]) -> ReceivedRequest:
        content = body["messages"][-1]["content"]
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        images = tuple(part["image_url"]["url"] for part in parts if part["type"] == "image_url")
        with self.lock:
            times = sum((one.text, one.images) == (text, images) for one in self.asked)
            one = ReceivedRequest(text, times, body, headers, time.monotonic(), images)
            self.asked.append(one)
        return one


def handler_of(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else the second part of an answer waits 40 ms for the first to be acknowledged

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/v1/chat/completions"
            asked = stub.hear(body, {name.lower(): value for name, value in self.headers.items()})
            act = stub.script(asked)
            stub.closing.wait(act.after)
            if act.how == "close":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            content = act.content(body["model"])
            self.send_response(act.status)
            for name, value in {"content-type": "application/json", **act.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if act.how == "half" else content)
            self.wfile.flush()
            if act.how == "half":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            if act.counts:
                with stub.lock:
                    stub.answered[asked.text] += 1

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the client was killed or timed out
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def listening(script: Script) -> Iterator[Stub]:
    """The stub in a thread."""
    stub = Stub(script)
    server = _Server(("127.0.0.1", 0), handler_of(stub))
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.closing.set()
        server.shutdown()
        server.server_close()


def good(asked: ReceivedRequest) -> Act:
    """A script that answers everything."""
    return Act(f"答：{asked.text}")


def first(act: Act, then: Script = good) -> Script:
    """`act` for the first request of each text, then `then`."""
    return lambda asked: then(asked) if asked.times else act
