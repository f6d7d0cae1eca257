"""Pictures are downloaded from open addresses only, in bounded size, and a cleaned file names them as files."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from data_tools.check import check
from data_tools.fetch import Fetcher, download, is_public
from data_tools.fix import fix
from data_tools.rules import Rules
from llm.config import Source
from llm.errors import ConfigError
from tests.data_tools.damage import picture, shown

PICTURE = picture()


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
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def local(address: str) -> bool:
    """The test's own server is allowed, and no other address."""
    return address == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_the_open_internet_is_asked(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_downloads_and_what_is_refused(server: str) -> None:
    assert download(f"{server}/ok.png", 1000, local) == download(f"{server}/moved", 1000, local) == PICTURE
    _Server.asked.clear()
    with pytest.raises(ValueError, match="not of the open internet"):
        download(f"{server}/ok.png", 1000, is_public)
    assert _Server.asked == [], "refused before anything was asked"
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
    path.write_text("".join(json.dumps(shown(number, url)) + "\n" for number, url in enumerate(urls)))
    return path


def test_a_cleaned_file_names_the_downloaded_pictures(tmp_path: Path, server: str) -> None:
    path = rows(tmp_path, f"{server}/ok.png", f"{server}/gone", f"{server}/text", f"{server}/ok.png")
    before = path.read_bytes()
    source, rules = Source(path=str(path)), Rules(fetch=Fetcher(tmp_path / "web", allowed=local))
    assert check(source, tmp_path, Rules()).counts == {"image-url": 4}
    assert _Server.asked == []
    fixed = fix(source, tmp_path, tmp_path / "out.jsonl", rules)
    assert fixed.report.counts == {"image-fetch": 2, "image-fetched": 2} and (fixed.kept, fixed.quarantined) == (2, 2)
    found = check(Source(path=str(tmp_path / "out.jsonl")), tmp_path, Rules())
    assert found.counts == {} and (found.rows, found.images) == (2, 1)
    (picture_file,) = (tmp_path / "web").iterdir()
    assert picture_file.read_bytes() == PICTURE and path.read_bytes() == before


def test_private_addresses_are_refused_by_default(tmp_path: Path, server: str) -> None:
    path = rows(tmp_path, f"{server}/ok.png")
    report = check(Source(path=str(path)), tmp_path, Rules(fetch=Fetcher(tmp_path / "web")))
    assert report.counts == {"image-fetch": 1} and _Server.asked == [] and not (tmp_path / "web").exists()


def test_the_folder_must_be_where_rows_can_name_it(tmp_path: Path, server: str) -> None:
    (tmp_path / "data").mkdir()
    path = rows(tmp_path / "data", f"{server}/ok.png")
    with pytest.raises(ConfigError, match="inside the image folder"):
        check(Source(path=str(path)), tmp_path, Rules(fetch=Fetcher(tmp_path / "web", allowed=local)))
