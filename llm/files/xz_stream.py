"""Data compressed with xz, read as a stream with bounded memory."""

import io
import lzma
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_MIB = 128  # MiB to unpack with: `xz -9` needs 65, a hostile file may ask for 4,096
CHUNK = 1 << 16  # bytes


class XzStream(io.RawIOBase):
    """The unpacked content of a file, also of several xz streams one after another. Reading damage raises OSError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = _decoder()

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Unpack into the buffer, at most as much as it holds; 0 at the end."""
        view = memoryview(buffer).cast("B")
        try:
            found = self._next(len(view))
        except lzma.LZMAError as error:
            raise OSError(f"its xz data is damaged, or needs more than {MOST_MIB} MiB of memory") from error
        view[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()

    def _next(self, size: int) -> bytes:
        while True:
            packed = b""
            if self._decoder.eof:
                packed = self._next_stream()
                if not packed:
                    return b""
                self._decoder = _decoder()
            elif self._decoder.needs_input:
                packed = self._file.read(CHUNK)
                if not packed:
                    raise OSError("its xz data ends early")
            found = self._decoder.decompress(packed, size)
            if found:
                return found

    def _next_stream(self) -> bytes:
        """The beginning of a stream after the one that has ended, without the zeros that may be between; or nothing."""
        packed = self._decoder.unused_data or self._file.read(CHUNK)
        while packed and not packed.strip(b"\0"):
            packed = self._file.read(CHUNK)
        return packed.lstrip(b"\0")


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MIB << 20)
