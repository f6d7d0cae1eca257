"""Pictures given as URLs become files of a folder: no private address, no redirect to one, images only, and bounded."""

import hashlib
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from llm.conversation import ImageRef
from llm.errors import ConfigError, ImageError, Place, RecordError
from llm.records import RawRow
from llm.whole import whole_file
from vlm.images import DEFAULT_LIMITS, ImageLimits, check_header

AddressRule = Callable[[str], bool]
REDIRECTS = 4
SECONDS = 30.0  # for one picture in all
_BLOCK = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_KEYS = ("image", "images", "image_url", "url", "path")
_MOVED = (301, 302, 303, 307, 308)


def is_public(address: str) -> bool:
    """True for an address of the open internet: no private, loopback, link-local or multicast one, nor one inside."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found.sixtofour is not None or found.teredo is not None or found in _NAT64:
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Downloads the pictures of rows into `folder`; `allowed` judges every address before it is connected to."""

    folder: Path
    limits: ImageLimits = DEFAULT_LIMITS
    allowed: AddressRule = is_public
    keys: tuple[str, ...] = _KEYS

    def __call__(self, row: RawRow, root: str) -> RawRow:
        """The row with the names of files, relative to its image folder `root`, where it names URLs.

        Raises RecordError for a picture that cannot be had, ConfigError when the folder lies outside `root`.
        """
        folder = self.folder.resolve()
        if not folder.is_relative_to(Path(root).resolve()):
            advice = f"name a folder inside the image folder {root}, or another one with --images"
            raise ConfigError(f"--allow-urls {self.folder}: rows name pictures relative to the image folder; {advice}")
        value = self._localised(row.value, row.place, Path(root).resolve(), False)
        return replace(row, value=value)

    def _localised(self, value: object, place: Place, root: Path, named: bool) -> object:
        if isinstance(value, dict):
            return {key: self._localised(one, place, root, key in self.keys) for key, one in value.items()}
        if isinstance(value, list):
            return [self._localised(one, place, root, named) for one in value]
        if named and isinstance(value, str) and value.lower().startswith(("http://", "https://")):
            return str(self._file(value, place).relative_to(root))
        return value

    def _file(self, url: str, place: Place) -> Path:
        """The picture's file, fetched unless it is there already."""
        folder = self.folder.resolve()
        path = folder / f"{hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.img"
        if path.exists():
            return path
        try:
            data = download(url, self.limits.max_bytes, self.allowed)
            check_header(ImageRef(data=data), self.limits)
        except (OSError, ValueError, http.client.HTTPException, ImageError) as error:
            advice = "Save the picture yourself, or remove the record"
            raise RecordError(place, "image", f"{url[:80]}: {error}", advice, "image-fetch") from error
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:  # several threads may fetch the same picture
            partial.write_bytes(data)
        return path


def download(url: str, most: int, allowed: AddressRule, seconds: float = SECONDS) -> bytes:
    """What stands behind a URL, redirects followed. Raises OSError or ValueError for what is refused."""
    until = time.monotonic() + seconds
    for _ in range(REDIRECTS + 1):
        connection = _connect(urlsplit(url), allowed, until)
        try:
            connection.request("GET", _target(urlsplit(url)), headers={"Accept-Encoding": "identity"})
            answer = connection.getresponse()
            if answer.status not in _MOVED:
                return _body(answer, most, until)
            url = urljoin(url, answer.getheader("Location") or "")
        finally:
            connection.close()
    raise ValueError(f"more than {REDIRECTS} redirects")


def _body(answer: http.client.HTTPResponse, most: int, until: float) -> bytes:
    if answer.status != 200:
        raise ValueError(f"the server answers {answer.status} {answer.reason}")
    kind = (answer.getheader("Content-Type") or "image/").lower()
    if not kind.startswith(("image/", "application/octet-stream", "binary/octet-stream")):
        raise ValueError(f"{kind.partition(';')[0]}, not an image")
    data = bytearray()
    while len(data) <= most and (block := answer.read1(_BLOCK)):
        if time.monotonic() > until:
            raise ValueError("takes too long")
        data += block
    if len(data) > most:
        raise ValueError(f"more than {most:,} bytes")
    return bytes(data)


def _target(url: SplitResult) -> str:
    return quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe="/?&=%+:;,@!$'()*~")


def _connect(url: SplitResult, allowed: AddressRule, until: float) -> http.client.HTTPConnection:
    """A connection to the very address that was judged: the name is resolved once."""
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("not an http or https address")
    port = url.port or (443 if url.scheme == "https" else 80)
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)]
    refused = [address for address in addresses if not allowed(address)]
    if refused or not addresses:
        raise ValueError(f"{url.hostname} is the address {', '.join(refused)}, which is not of the open internet")
    left = max(0.1, until - time.monotonic())
    connection = http.client.HTTPConnection(url.hostname, port, timeout=left)
    stream = socket.create_connection((addresses[0], port), timeout=left)
    if url.scheme == "https":
        stream = ssl.create_default_context().wrap_socket(stream, server_hostname=url.hostname)
    connection.sock = stream
    return connection
