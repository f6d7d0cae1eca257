"""Images are downloaded from public addresses only, in bounded size and time, and a fixed file names them as files."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, ClassVar

import pytest

from data_tools.check.check import check
from data_tools.check.fix import fix
from data_tools.check.rules import CheckRules
from data_tools.check.url_images import ImageDownloader, download, is_public
from llm.config.schema import Source
from llm.errors import ConfigError
from tests.data_tools.damage import image_bytes, image_record

PICTURE = image_bytes()


class _Server(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/ok.png")
            self.end_headers()
            return
        if self.path in ("/inside", "/loop"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.2/x.png" if self.path == "/inside" else "/loop")
            self.end_headers()
            return
        bodies = {"/ok.png": PICTURE, "/large": b"x" * 5000, "/page": b"<html>", "/text": b"no picture"}
        body = bodies.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "image/png")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def local(address: str) -> bool:
    """Allows the test's own server and no other address."""
    return address == "127.0.0.1"


PUBLIC = ("8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "192.0.1.1", "192.88.98.1", "198.20.0.1",
          "223.255.255.255", "2606:4700::1", "2001:200::1", "2a00:1450::1", "3ffe::1", "::ffff:8.8.8.8")  # fmt: skip
# One address of every special-purpose block of IANA's registries, at its edge where it has one.
SPECIAL_BLOCKS = """
0.0.0.0 0.255.255.255 10.1.2.3 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.0
172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.255 192.0.2.1 192.31.196.1 192.52.193.1
192.88.99.0 192.88.99.255 192.168.0.1 192.175.48.1 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::8.8.8.8 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:192.88.99.1 ::ffff:0:8.8.8.8 64:ff9b::7f00:1
64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 100:0:0:1::1 1fff::1 2001::1 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1
2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1 2620:4f:8000::1 3fff::1 3fff:fff:ffff::1 4000::1
5f00::1 fc00::1 fd00::1 fe00::1 fe80::1 fe80::1%eth0 2606:4700::1%eth0 febf::1 fec0::1 feff::1 ff02::1 ff0e::1
"""


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", SPECIAL_BLOCKS.split())
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_downloads_and_refusals(server: str) -> None:
    assert download(f"{server}/ok.png", 1000, local) == download(f"{server}/moved", 1000, local) == PICTURE
    _Server.asked.clear()
    with pytest.raises(ValueError, match="not public"):
        download(f"{server}/ok.png", 1000, is_public)
    assert _Server.asked == [], "refused before any request"
    refused = {
        "/inside": "127.0.0.2",
        "/loop": "redirects",
        "/large": "more than 1,000 bytes",
        "/page": "not an image",
        "/gone": "404",
    }
    for path, message in refused.items():
        with pytest.raises(ValueError, match=message):
            download(server + path, 1000, local)
    with pytest.raises(ValueError, match="not an http"):
        download("file:///etc/passwd", 1000, local)


def rows(folder: Path, *urls: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(image_record(number, url)) + "\n" for number, url in enumerate(urls)))
    return path


def test_a_fixed_file_names_the_downloaded_images(tmp_path: Path, server: str) -> None:
    path = rows(tmp_path, f"{server}/ok.png", f"{server}/gone", f"{server}/text", f"{server}/ok.png")
    before = path.read_bytes()
    source, rules = Source(path=str(path)), CheckRules(fetch=ImageDownloader(tmp_path / "web", allowed=local))
    assert check(source, tmp_path, CheckRules()).counts == {"image-url": 4}
    assert _Server.asked == []
    fixed = fix(source, tmp_path, tmp_path / "out.jsonl", rules)
    assert fixed.report.counts == {"image-fetch": 2, "image-fetched": 2} and (fixed.kept, fixed.quarantined) == (2, 2)
    found = check(Source(path=str(tmp_path / "out.jsonl")), tmp_path, CheckRules())
    assert found.counts == {} and (found.rows, found.images) == (2, 1)
    (picture_file,) = (tmp_path / "web").iterdir()
    assert picture_file.read_bytes() == PICTURE and path.read_bytes() == before


def test_private_addresses_are_refused_by_default(tmp_path: Path, server: str) -> None:
    path = rows(tmp_path, f"{server}/ok.png")
    report = check(Source(path=str(path)), tmp_path, CheckRules(fetch=ImageDownloader(tmp_path / "web")))
    assert report.counts == {"image-fetch": 1} and _Server.asked == [] and not (tmp_path / "web").exists()


def test_the_download_folder_must_lie_in_the_image_folder(tmp_path: Path, server: str) -> None:
    (tmp_path / "data").mkdir()
    path = rows(tmp_path / "data", f"{server}/ok.png")
    with pytest.raises(ConfigError, match="inside the image folder"):
        check(Source(path=str(path)), tmp_path, CheckRules(fetch=ImageDownloader(tmp_path / "web", allowed=local)))


PAUSE = 0.05  # seconds between two pieces: far within every timeout of a socket
PIECES = 80  # until the server gives up: 4 s
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
# what is sent at once, and what is then sent again and again
DRIPS = {
    "nothing": (b"", b""),
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "a header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Many: x\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a chunk's size": (CHUNKED + b"3;", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "a trailer": (CHUNKED + b"0\r\n", b"X-Late: x\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x"),
    "a redirect": (b"HTTP/1.1 302 Found\r\n", b"X-Many: x\r\n"),
}


class _Dripping(BaseRequestHandler):
    drip: ClassVar[tuple[bytes, bytes]] = (b"", b"")

    def handle(self) -> None:
        self.request.recv(1 << 16)
        begun, piece = self.drip
        with suppress(BrokenPipeError, ConnectionResetError):
            self.request.sendall(begun)
            for _ in range(PIECES):
                time.sleep(PAUSE)
                self.request.sendall(piece)


class _Threads(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture
def dripping() -> Iterator[str]:
    with _Threads(("127.0.0.1", 0), _Dripping) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"//127.0.0.1:{running.server_address[1]}/x.png"
        running.shutdown()


def is_late(url: str, seconds: float = 0.4) -> None:
    begun = time.monotonic()
    with pytest.raises((ValueError, OSError, HTTPException)) as caught:
        download(url, 1000, local, seconds)
    assert time.monotonic() - begun < 2 * seconds
    assert str(caught.value) == f"takes longer than {seconds} s"


@pytest.mark.parametrize("case", DRIPS)
def test_one_time_limit_holds_for_everything(monkeypatch: pytest.MonkeyPatch, dripping: str, case: str) -> None:
    monkeypatch.setattr(_Dripping, "drip", DRIPS[case])
    is_late(f"http:{dripping}")


def test_a_slow_tls_handshake(monkeypatch: pytest.MonkeyPatch, dripping: str) -> None:
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # a server's greeting of 16 KiB
    monkeypatch.setattr(_Dripping, "drip", (record, b"\x03"))
    is_late(f"https:{dripping}")


def test_redirects_share_the_time_limit(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    answer = _Server.do_GET

    def late(handler: _Server) -> None:
        time.sleep(0.15)
        answer(handler)

    monkeypatch.setattr(_Server, "do_GET", late)
    is_late(f"{server}/loop")
    assert 1 < len(_Server.asked) < 4


def test_a_slow_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[object]:
        time.sleep(2)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    is_late("http://example.org/x.png")


def test_a_name_is_resolved_once_and_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    """DNS rebinding: a second lookup gives another address, and a proxy would look the name up itself."""
    port, real = int(server.rpartition(":")[2]), socket.getaddrinfo
    looked_up: list[str] = []

    def resolve(host: str, *rest: Any, **options: Any) -> Any:
        looked_up.append(host)
        names = looked_up.count("rebinding.test")
        return real(host if host != "rebinding.test" else f"127.0.0.{names}", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert download(f"http://rebinding.test:{port}/ok.png", 1000, local) == PICTURE
    assert looked_up.count("rebinding.test") == 1 and set(looked_up) <= {"rebinding.test", "127.0.0.1"}
    with pytest.raises(ValueError, match="127.0.0.2, which is not public"):
        download(f"http://rebinding.test:{port}/ok.png", 1000, local)


def test_a_long_error_of_a_server_is_shortened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dripping: str) -> None:
    monkeypatch.setattr(_Dripping, "drip", (b"HTTP/1.1 500 " + b"no" * 20_000 + b"\r\n\r\n", b""))
    report = check(
        Source(path=str(rows(tmp_path, f"http:{dripping}"))),
        tmp_path,
        CheckRules(fetch=ImageDownloader(tmp_path / "web", allowed=local)),
    )
    (finding,) = report.findings
    assert "the server answers 500 nono" in finding.found and len(finding.found) < 400
