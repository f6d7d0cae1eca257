"""Write records as they come to JSON (one record a line), JSONL or parquet, holding one batch in memory."""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.rows.json_array import array_writer
from llm.errors import ConfigError, RunError
from llm.files.atomic_files import atomic_file

if TYPE_CHECKING:
    import pyarrow

BATCH = 256  # records of a parquet row group; each may embed images

Rows = Iterable[Mapping[str, object]]


def write_rows(path: Path, rows: Rows, format: str) -> int:
    """Write records to `path` atomically and return how many. RunError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            return SINKS[path.suffix.lower()](partial, rows, format)
    except OSError as error:
        where = error.filename or path
        raise RunError(f"{where}: {error.strerror}. Choose a writable place for {path}") from error


def check_suffix(path: Path) -> None:
    """Raise ConfigError unless the suffix of `path` is an output format."""
    if path.suffix.lower() not in SINKS:
        raise ConfigError(f"{path}: an unknown suffix. Use {', '.join(SINKS)}")


def _json(path: Path, rows: Rows, _format: str) -> int:
    count = 0
    with path.open("wb") as file, array_writer(file) as add:
        for row in rows:
            add(_dumped(row).encode())
            count += 1
    return count


def _jsonl(path: Path, rows: Rows, _format: str) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(_dumped(row) + "\n")
            count += 1
    return count


def _dumped(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _parquet(path: Path, rows: Rows, format: str) -> int:
    import pyarrow
    import pyarrow.parquet

    schema = _schema(format)
    rest, count = iter(rows), 0
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        while batch := [_uniform(row, format) for row in islice(rest, BATCH)]:
            file.write_batch(pyarrow.RecordBatch.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _schema(format: str) -> "pyarrow.Schema":
    """The columns of a format, fixed: inferred from the first records they would depend on the library."""
    import pyarrow as pa

    text = pa.string()
    media = pa.list_(pa.struct({"bytes": pa.binary(), "path": text}))
    turns = pa.list_(pa.struct({"from": text, "value": text}))
    url = pa.struct({"url": text})
    part = pa.struct({"type": text, "text": text, "image_url": url, "video_url": url})
    turn = pa.struct({"system": text, "input": text, "output": text, "output_with_loss": pa.bool_()})

    def messages(content: pa.DataType) -> pa.DataType:
        return pa.list_(pa.struct({"role": text, "content": content, "loss": pa.bool_()}))

    columns = {
        "llava": {"image": media, "video": media, "system": text, "conversations": turns},
        "sharegpt": {"system": text, "conversations": turns},
        "messages": {"images": media, "videos": media, "messages": messages(text)},
        "openai": {"messages": messages(pa.list_(part))},
        "xtuner": {"conversation": pa.list_(turn)},
        "alpaca": dict.fromkeys(("instruction", "input", "output"), text),
        "text": {"text": text},
    }
    return pa.schema({"id": text} | columns[format])


def _uniform(row: Mapping[str, object], format: str) -> dict[str, object]:
    """The record with one type per column: ids as text, images and OpenAI contents as lists."""
    same = dict(row)
    if "id" in same:
        same["id"] = str(same["id"])
    for name in {"image", "video"} & set(same):
        same[name] = same[name] if isinstance(same[name], list) else [same[name]]
    turns = same.get("messages")
    if format == "openai" and isinstance(turns, list):
        same["messages"] = [{**turn, "content": _as_parts(turn["content"])} for turn in turns]
    return same


def _as_parts(content: object) -> object:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


SINKS: dict[str, Callable[[Path, Rows, str], int]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
"""The writer of each suffix."""
