"""Archives of images from a client: unpacked with limits, and only into the folder meant for them."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EINVAL
from pathlib import Path, PurePosixPath
from typing import IO, cast

from llm.errors import ServiceError
from llm.files.disk_space import LEAST_FREE, is_nearly_full

CHUNK = 1 << 20
MOST_READ = 2 * CHUNK  # bytes that a header of a tar file may have
# What the libraries raise for damaged members, besides OSError.
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)
LONGEST_NAME = 1024  # bytes of a path inside an archive
UTF8_FLAG, ZIP_DEFAULT = 0x800, "cp437"  # of a zip file: names are UTF-8; what zipfile reads the others as


class ArchiveError(ServiceError):
    """An archive that is damaged, hostile or too large."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold.

    `ratio`: unpacked bytes for each byte of the archive, beyond the first `free` bytes. `disk`: bytes that it must
    leave free there.
    """

    files: int = 1_000_000
    bytes: int = 64 * 2**30
    ratio: int = 100
    free: int = 64 * 2**20
    disk: int = LEAST_FREE


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its name as the archive has it, and how it is read."""

    name: str
    is_folder: bool
    other: str  # what it is when neither file nor folder; else empty
    source: zipfile.ZipInfo | tarfile.TarInfo


Reader = Callable[[Member], IO[bytes]]


def unpack(archive: Path, folder: Path, limits: ArchiveLimits = ArchiveLimits()) -> int:
    """Unpack a zip or tar file into a new folder and return the number of files. All or nothing.

    Raises ArchiveError for links, devices, absolute names, names with `..`, names that appear twice, encrypted or
    damaged members, and what exceeds the limits: counted while unpacking, whatever the archive claims.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _damage_named():
            count = _unpack(archive, partial, limits)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return count


def _unpack(archive: Path, folder: Path, limits: ArchiveLimits) -> int:
    left = min(limits.bytes, limits.free + limits.ratio * archive.stat().st_size)
    count = 0
    with _opened(archive) as (members, read):
        for member in members:
            count += 1
            if count > limits.files:
                raise ArchiveError(f"the archive holds more than {limits.files:,} files. Split it")
            target = folder / _checked_name(member)
            if member.is_folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with read(member) as source, target.open("xb") as output:
                left -= _copy(source, output, left, lambda: is_nearly_full(folder, limits.disk))
    return count


def _copy(source: IO[bytes], output: IO[bytes], most: int, is_full: Callable[[], bool]) -> int:
    """Copy and return the bytes. Raises ArchiveError beyond `most`, and when the disk `is_full`."""
    size = 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > most:
            raise ArchiveError("the archive unpacks to more bytes than allowed. Split it, or store images as JPEG")
        if is_full():
            raise ArchiveError("the service's disk is nearly full. Delete files or jobs, then submit the job again")
        output.write(chunk)
    return size


def _checked_name(member: Member) -> PurePosixPath:
    """The name as a relative path. Raises ArchiveError for one that could lead out of the folder."""
    name = member.name
    shown = repr(name[:80])
    if member.other:
        raise ArchiveError(f"{shown} is {member.other}; an archive may hold files and folders only")
    if "\\" in name or ":" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise ArchiveError(f"{shown}: a name with a backslash, a colon or a control character. Rename the file")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ArchiveError(f"{shown}: a name that leads out of the archive's folder. Pack it from inside the folder")
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise ArchiveError(f"{shown}: a name that is not text. Rename the file") from error
    if len(encoded) > LONGEST_NAME or any(len(part.encode()) > 255 for part in path.parts):
        raise ArchiveError(f"{shown}: a name of more than {LONGEST_NAME} bytes, or 255 a part. Rename the file")
    return path


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[Member], Reader]]:
    """The members of a zip or tar file in order, and how each is read."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            names = _zip_names(packed.infolist())
            yield map(_zip_member, packed.infolist(), names), lambda member: packed.open(_zip_info(member))
        return
    with _decompressed(archive) as stream, _tar(BoundedStream(stream)) as packed_tar:
        yield map(_tar_member, packed_tar), lambda member: _tar_stream(packed_tar, member)


def _tar(stream: "BoundedStream") -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r:")
    except (*DAMAGED, OSError) as error:
        found = "the file is neither a zip nor a tar archive. Pack the images with `zip -r` or `tar -czf`"
        raise ArchiveError(found) from error


def _decompressed(archive: Path) -> IO[bytes]:
    """The contents of a file, decompressed as its first bytes say."""
    with archive.open("rb") as stream:
        start = stream.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(archive))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(archive))
    return cast(IO[bytes], lzma.open(archive)) if start == b"\xfd7zXZ\0" else archive.open("rb")


class BoundedStream(io.RawIOBase):
    """What a tar reader sees: it takes headers into memory at once, whatever size they claim."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read. Raises ArchiveError for more than MOST_READ bytes at once."""
        if not 0 <= size <= MOST_READ:
            raise ArchiveError(f"the archive has a header of more than {MOST_READ:,} bytes. Pack it again")
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        """Move."""
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        """The position."""
        return self._stream.tell()


def _zip_names(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The names, of which zip files without the UTF-8 flag hold bytes of an encoding that they do not name.

    zipfile takes them for code page 437. macOS writes UTF-8, Windows in China GBK: each is taken where all names are
    valid in it, and GBK where most of the letters are common ones besides.
    """
    shown = [info.orig_filename for info in members]
    unnamed = [not info.flag_bits & UTF8_FLAG for info in members]
    held = "/".join(name for name, without in zip(shown, unnamed, strict=True) if without)
    if held.isascii():
        return shown
    encoding = next((one for one in ("utf-8", "gb18030") if _is_encoded(held.encode(ZIP_DEFAULT), one)), ZIP_DEFAULT)
    return [
        name.encode(ZIP_DEFAULT).decode(encoding) if without else name
        for name, without in zip(shown, unnamed, strict=True)
    ]


def _is_encoded(names: bytes, encoding: str) -> bool:
    """Whether names are text of an encoding; of GBK, where half of the letters are also in GB 2312."""
    try:
        letters = [letter for letter in names.decode(encoding) if not letter.isascii()]
    except UnicodeDecodeError:
        return False
    common = sum(bool(letter.encode("gb2312", "ignore")) for letter in letters)
    return encoding == "utf-8" or 2 * common >= len(letters)


def _zip_member(info: zipfile.ZipInfo, name: str) -> Member:
    mode = info.external_attr >> 16
    other = "a link" if stat.S_ISLNK(mode) else "encrypted" if info.flag_bits & 1 else ""
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        other = "a device"
    return Member(name, info.is_dir(), other, info)


def _tar_member(info: tarfile.TarInfo) -> Member:
    other = "a link" if info.issym() or info.islnk() else "" if info.isreg() or info.isdir() else "a device"
    return Member(info.name, info.isdir(), other, info)


def _zip_info(member: Member) -> zipfile.ZipInfo:
    assert isinstance(member.source, zipfile.ZipInfo)
    return member.source


def _tar_stream(packed: tarfile.TarFile, member: Member) -> IO[bytes]:
    assert isinstance(member.source, tarfile.TarInfo)
    stream = packed.extractfile(member.source)
    assert stream is not None  # it is a regular file
    return stream


@contextmanager
def _damage_named() -> Iterator[None]:
    """Raise ArchiveError for what the libraries raise on damaged or twisted archives."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        found = "the archive holds one name twice, or a file and a folder of one name"
        raise ArchiveError(f"{found}. Pack it again") from error
    except DAMAGED as error:
        raise ArchiveError(f"the archive is damaged or of an unknown kind: {_phrase(error)}. Pack it again") from error
    except OSError as error:
        if error.errno not in (None, EINVAL):  # those two are damage: gzip's own error, and an offset below 0
            raise
        raise ArchiveError(f"the archive is damaged: {_phrase(error)}. Pack it again") from error


def _phrase(error: Exception) -> str:
    return str(error).rstrip(". ") or type(error).__name__
