"""Data files that are compressed: read as a stream, never unpacked on disk."""

import io
from pathlib import Path
from typing import BinaryIO, cast

from llm.files.regular_files import open_data
from llm.files.xz_stream import XzStream

_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}  # of pyarrow
_XZ = ".xz"
_PACKED = frozenset({*_CODECS, _XZ})
_PLAIN = frozenset({".json", ".jsonl", ".ndjson", ".jsonlines", ".jl", ".csv", ".tsv"})


def suffix_of(path: Path) -> str:
    """The suffix that says how a file is read: `.jsonl` for `a.jsonl.gz`. That of other files in lower case."""
    inner = Path(path.stem).suffix.lower()
    return inner if path.suffix.lower() in _PACKED and inner in _PLAIN else path.suffix.lower()


def is_compressed(path: Path) -> bool:
    """Whether `open_rows` decompresses the file."""
    return path.suffix.lower() in _PACKED


def open_rows(path: Path) -> BinaryIO:
    """Open a data file for reading, decompressed. Raises DataError; reading damaged data raises OSError."""
    file = open_data(path)
    if not is_compressed(path):
        return file
    if path.suffix.lower() == _XZ:
        return io.BufferedReader(XzStream(file))
    import pyarrow

    return cast(BinaryIO, pyarrow.CompressedInputStream(file, _CODECS[path.suffix.lower()]))
