"""Rows of Arrow files as `datasets` saves them, a few at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from llm.errors import Place, RecordError
from llm.files.regular_files import check_regular
from llm.rows.parquet_rows import PARQUET_BATCH
from llm.rows.raw_row import RawRow, broken, place_of

if TYPE_CHECKING:
    import pyarrow

_FILE_MARK = b"ARROW1"  # of the file format, which feather has; `datasets` writes the stream format


def arrow_rows(path: Path) -> Iterator[RawRow]:
    """Yield every row, numbered from 1 in its place; where the file is broken, the error as the last row."""
    import pyarrow

    number = 0
    try:
        check_regular(path)
        with pyarrow.memory_map(str(path)) as source:
            for batch in _batches(source):
                for start in range(0, batch.num_rows, PARQUET_BATCH):
                    for row in batch.slice(start, PARQUET_BATCH).to_pylist():
                        number += 1
                        yield RawRow(place_of(str(path), 0, row, f"row {number}"), row)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        found = f"not a valid Arrow file, after row {number}: {error}"
        yield broken(RecordError(Place(str(path)), "Arrow", found, "Download or write it again", "parquet-broken"))


def _batches(source: "pyarrow.MemoryMappedFile") -> Iterator["pyarrow.RecordBatch"]:
    import pyarrow.ipc

    if source.read(len(_FILE_MARK)) == _FILE_MARK:
        source.seek(0)
        file = pyarrow.ipc.open_file(source)
        yield from (file.get_batch(index) for index in range(file.num_record_batches))
        return
    source.seek(0)
    yield from pyarrow.ipc.open_stream(source)
