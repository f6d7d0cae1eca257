"""Rows into a file as they come: JSON with one record a line, JSONL, or parquet. Nothing but the open batch is held."""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from llm.errors import ConfigError, RunError
from llm.files.atomic_files import atomic_file

if TYPE_CHECKING:
    import pyarrow

BATCH = 256  # rows of a parquet row group; each may carry whole images

Rows = Iterable[Mapping[str, object]]


def write_rows(path: Path, rows: Rows, format: str) -> int:
    """How many rows were written to `path`, which is whole or not there. RunError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            return SINKS[path.suffix.lower()](partial, rows, format)
    except OSError as error:
        where = error.filename or path
        raise RunError(f"{where}: {error.strerror}. Mend its rights, or choose another place than {path}") from error


def check_suffix(path: Path) -> None:
    """Raise ConfigError unless the name of `path` says what to write."""
    if path.suffix.lower() not in SINKS:
        raise ConfigError(f"{path}: its name does not say what to write. End it in {', '.join(SINKS)}")


def _json(path: Path, rows: Rows, _format: str) -> int:
    """An array with one record a line, so that an error's line is the record's."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for row in rows:
            file.write((",\n" if count else "\n") + _dumped(row))
            count += 1
        file.write("\n]\n")
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
    """The columns of a format. Two libraries' guesses from the first rows would differ, so nothing is guessed."""
    import pyarrow as pa

    text = pa.string()
    pictures = pa.list_(pa.struct({"bytes": pa.binary(), "path": text}))
    said = pa.list_(pa.struct({"from": text, "value": text}))
    part = pa.struct({"type": text, "text": text, "image_url": pa.struct({"url": text})})
    turn = pa.struct({"system": text, "input": text, "output": text, "output_with_loss": pa.bool_()})

    def messages(content: pa.DataType) -> pa.DataType:
        return pa.list_(pa.struct({"role": text, "content": content, "loss": pa.bool_()}))

    columns = {
        "llava": {"image": pictures, "system": text, "conversations": said},
        "sharegpt": {"system": text, "conversations": said},
        "messages": {"images": pictures, "messages": messages(text)},
        "openai": {"messages": messages(pa.list_(part))},
        "xtuner": {"conversation": pa.list_(turn)},
        "alpaca": dict.fromkeys(("instruction", "input", "output"), text),
        "text": {"text": text},
    }
    return pa.schema({"id": text} | columns[format])


def _uniform(row: Mapping[str, object], format: str) -> dict[str, object]:
    """The row with one type a column: ids are text, images and OpenAI's contents are always lists."""
    same = dict(row)
    if "id" in same:
        same["id"] = str(same["id"])
    if "image" in same and not isinstance(same["image"], list):
        same["image"] = [same["image"]]
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
"""The files that are written, by the end of their name."""
