"""Files whose image is intact and that Pillow refuses for what is around it: its container, rewritten without that.

Only the container is read here, its chunks skipped over; pixels are not touched.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, BytesIO
from typing import BinaryIO

PNG = b"\x89PNG\r\n\x1a\n"
TEXT_LIMIT = 1 << 20  # bytes of text and colour profile of one PNG; Pillow allows 1 MiB a chunk and refuses the file

_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk of a PNG or WebP file: its name, where it begins, and its length without its head."""

    name: bytes
    start: int
    length: int


def repaired(source: BinaryIO) -> BinaryIO:
    """`source` from its start or, if Pillow would refuse the file, a copy of what it does read.

    A PNG loses its texts (and colour profile, which is not used) from 1 MiB on; an animated WebP that is cut off, the
    frames after its first.
    """
    start = source.read(16)
    if start.startswith(PNG):
        return _without_long_texts(source)
    if start.startswith(b"RIFF") and start[8:16] == b"WEBPVP8X":
        return _first_frame(source)
    source.seek(0)
    return source


def _without_long_texts(source: BinaryIO) -> BinaryIO:
    chunks, size = list(_png_chunks(source)), 0
    dropped: list[_Chunk] = []
    for chunk in chunks:
        if chunk.name in _TEXTS:
            source.seek(chunk.start + 8)
            grown = _text_size(chunk, source, TEXT_LIMIT - size)
            if size + grown > TEXT_LIMIT:
                dropped.append(chunk)
            else:
                size += grown
    source.seek(0)
    if not dropped:
        return source
    copy = BytesIO()
    for chunk in dropped:
        copy.write(source.read(chunk.start - source.tell()))
        source.seek(chunk.length + 12, SEEK_CUR)
    copy.write(source.read())
    copy.seek(0)
    return copy


def _png_chunks(source: BinaryIO) -> Iterator[_Chunk]:
    """The chunks of a PNG up to the first incomplete one."""
    size = source.seek(0, SEEK_END)
    start = len(PNG)
    while start + 12 <= size:
        source.seek(start)
        length, name = struct.unpack(">I4s", source.read(8))
        if start + length + 12 > size:
            return
        yield _Chunk(name, start, length)
        start += length + 12


def _text_size(chunk: _Chunk, source: BinaryIO, room: int) -> int:
    """Bytes of a text chunk once it is decompressed; any number above `room` if it is larger than that."""
    if chunk.length > room:
        return chunk.length
    body = source.read(chunk.length)
    name, _, rest = body.partition(b"\0")
    if chunk.name == b"tEXt" or (chunk.name == b"iTXt" and rest[:1] == b"\0"):
        return chunk.length
    packed = rest[1:] if chunk.name != b"iTXt" else rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        return len(name) + len(zlib.decompressobj().decompress(packed, room + 1))
    except zlib.error:
        return room + 1  # unreadable text is no reason to refuse the image


def _first_frame(source: BinaryIO) -> BinaryIO:
    """A WebP animation that is shorter than its head says, with the first frame alone; any other file as it is."""
    size = source.seek(0, SEEK_END)
    source.seek(4)
    stated = int.from_bytes(source.read(4), "little") + 8
    if size < stated:
        for chunk in _riff_chunks(source, size):
            if chunk.name == b"ANMF":
                source.seek(0)
                data = bytearray(source.read(chunk.start + 8 + chunk.length + chunk.length % 2))
                data[4:8] = (len(data) - 8).to_bytes(4, "little")
                return BytesIO(bytes(data))
    source.seek(0)
    return source


def _riff_chunks(source: BinaryIO, size: int) -> Iterator[_Chunk]:
    """The complete chunks of a RIFF file of `size` bytes."""
    start = 12
    while start + 8 <= size:
        source.seek(start)
        name, length = struct.unpack("<4sI", source.read(8))
        if start + 8 + length > size:
            return
        yield _Chunk(name, start, length)
        start += 8 + length + length % 2
