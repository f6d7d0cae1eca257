"""Rows of parquet files, a few at a time: one may hold images."""

from collections.abc import Iterator
from pathlib import Path

from llm.errors import Place, RecordError
from llm.files.regular_files import check_regular
from llm.rows.raw_row import RawRow, broken, place_of

PARQUET_BATCH = 64  # rows in memory at a time: a row may hold whole images


def parquet_rows(path: Path) -> Iterator[RawRow]:
    """Yield every row, numbered from 1 in its place; where the file is broken, the error as the last row."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        check_regular(path)
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield RawRow(place_of(str(path), 0, row, f"row {number}"), row)
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: a text that is not UTF-8
        found = f"not a valid parquet file, after row {number}: {error}"
        yield broken(RecordError(Place(str(path)), "parquet", found, "Download or write it again", "parquet-broken"))
