"""An endpoint of webhooks on a real port, which answers as a test asks."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What has arrived, and what is answered: the statuses in turn, then 204."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)  # while it is clear, requests to /slow get no answer

    @property
    def ids(self) -> list[str]:
        """The webhook-id of every request, in order."""
        return [headers["webhook-id"] for _, headers, _ in self.received]


@contextmanager
def receiving(encryption: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver, until the block ends; with `encryption` it speaks TLS."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            receiver.received.append((self.path, headers, body))
            if self.path == "/slow":
                receiver.hold.wait(60)
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
            for key, value in receiver.headers.items():
                self.send_header(key, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if encryption is not None:
        server.socket = encryption.wrap_socket(server.socket, server_side=True)
    receiver.url = f"http{'s' if encryption else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
