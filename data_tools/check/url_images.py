"""Download images given as URLs: from public addresses only, redirects included, bounded in size and time."""

import hashlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from data_tools.check.deadline_socket import DeadlineSocket, seconds_left
from data_tools.check.public_addresses import is_public
from llm.errors import ConfigError, ImageError, Place, RecordError
from llm.files.atomic_files import atomic_file
from llm.formats.conversation import ImageRef
from llm.rows.raw_row import RawRow
from vlm.vision.images import DEFAULT_LIMITS, ImageLimits, check_header

AddressRule = Callable[[str], bool]
REDIRECTS = 4
SECONDS = 30.0  # for one image in total: name resolution, connections, redirects and the body
SHOWN = 200  # characters of an error message, which may quote the server
_BLOCK = 1 << 16
_KEYS = ("image", "images", "image_url", "url", "path")
_REDIRECT_STATUS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class ImageDownloader:
    """Downloads the images of records into `folder`; no connection is made to an address that `allowed` rejects."""

    folder: Path
    limits: ImageLimits = DEFAULT_LIMITS
    allowed: AddressRule = is_public
    keys: tuple[str, ...] = _KEYS

    def __call__(self, row: RawRow, root: str) -> RawRow:
        """Download the images of a record. Returns the record with file names, relative to `root`, in place of URLs.

        `root` is the record's image folder. Raises RecordError for an image that cannot be downloaded, ConfigError
        when `folder` is not inside `root`.
        """
        folder = self.folder.resolve()
        if not folder.is_relative_to(Path(root).resolve()):
            advice = f"Name a folder inside the image folder {root}, or another image folder with --images"
            raise ConfigError(f"--allow-urls {self.folder}: lies outside the image folder. {advice}")
        value = self._with_files(row.value, row.place, Path(root).resolve(), False)
        return replace(row, value=value)

    def _with_files(self, value: object, place: Place, root: Path, is_image: bool) -> object:
        if isinstance(value, dict):
            return {key: self._with_files(one, place, root, key in self.keys) for key, one in value.items()}
        if isinstance(value, list):
            return [self._with_files(one, place, root, is_image) for one in value]
        if is_image and isinstance(value, str) and value.lower().startswith(("http://", "https://")):
            return str(self._file(value, place).relative_to(root))
        return value

    def _file(self, url: str, place: Place) -> Path:
        """The image's file, named after a hash of the URL and downloaded unless it exists."""
        folder = self.folder.resolve()
        path = folder / f"{hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.img"
        if path.exists():
            return path
        try:
            data = download(url, self.limits.max_bytes, self.allowed)
            check_header(ImageRef(data=data), self.limits)
        except (OSError, ValueError, http.client.HTTPException, ImageError) as error:
            advice = "Download the image by hand, or remove the record"
            raise RecordError(place, "image", f"{url[:80]}: {str(error)[:SHOWN]}", advice, "image-fetch") from error
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:  # several threads may download the same image
            partial.write_bytes(data)
        return path


def download(url: str, most: int, allowed: AddressRule, seconds: float = SECONDS) -> bytes:
    """The body of a URL, redirects followed, of at most `most` bytes. Raises OSError or ValueError otherwise."""
    try:
        return _follow(url, most, allowed, time.monotonic() + seconds)
    except TimeoutError:
        raise ValueError(f"takes longer than {seconds:g} s") from None


def _follow(url: str, most: int, allowed: AddressRule, until: float) -> bytes:
    for _ in range(REDIRECTS + 1):
        connection = _connect(urlsplit(url), allowed, until)
        try:
            connection.request("GET", _target(urlsplit(url)), headers={"Accept-Encoding": "identity"})
            with connection.getresponse() as answer:
                if answer.status not in _REDIRECT_STATUS:
                    return _body(answer, most)
                url = urljoin(url, answer.getheader("Location") or "")
        finally:
            connection.close()
    raise ValueError(f"more than {REDIRECTS} redirects")


def _body(answer: http.client.HTTPResponse, most: int) -> bytes:
    if answer.status != 200:
        raise ValueError(f"the server answers {answer.status} {answer.reason}")
    kind = (answer.getheader("Content-Type") or "image/").lower()
    if not kind.startswith(("image/", "application/octet-stream", "binary/octet-stream")):
        raise ValueError(f"{kind.partition(';')[0]}, not an image")
    data = bytearray()
    while len(data) <= most and (block := answer.read1(_BLOCK)):
        data += block
    if len(data) > most:
        raise ValueError(f"more than {most:,} bytes")
    return bytes(data)


def _target(url: SplitResult) -> str:
    return quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe="/?&=%+:;,@!$'()*~")


def _connect(url: SplitResult, allowed: AddressRule, until: float) -> http.client.HTTPConnection:
    """Connect to a checked address, without a proxy: the name is resolved once, so it cannot change after the check."""
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("not an http or https address")
    port = url.port or (443 if url.scheme == "https" else 80)
    addresses = _resolve(url.hostname, port, until)
    refused = [address for address in addresses if not allowed(address)]
    if refused or not addresses:
        raise ValueError(f"{url.hostname} has the address {', '.join(refused)}, which is not public")
    stream = socket.create_connection((addresses[0], port), timeout=seconds_left(until))
    if url.scheme == "https":
        stream.settimeout(seconds_left(until))  # holds for the handshake
        stream = ssl.create_default_context().wrap_socket(stream, server_hostname=url.hostname)
    connection = http.client.HTTPConnection(url.hostname, port)
    connection.auto_open = 0  # a reconnection would resolve the name again
    connection.sock = DeadlineSocket(stream, until)
    return connection


def _resolve(host: str, port: int, until: float) -> list[str]:
    """The addresses of a name. In a thread, because the system's resolver takes no timeout."""
    answer: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            answer.set_result([str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, ValueError) as error:
            answer.set_exception(error)

    Thread(target=look_up, daemon=True).start()
    return answer.result(seconds_left(until))
