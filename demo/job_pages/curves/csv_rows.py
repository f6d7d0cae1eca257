"""All metrics of several runs as one CSV file: a row a line of metrics, exactly as the runs have written them."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from llm.train.metrics import MetricsLine
from vlm.run_folders.run_curves import SHOWN

COLUMNS = ("run", "name", "step", "time", *SHOWN)
ROWS = 2000  # of a piece
FORMULA = ("=", "+", "-", "@", "\t")  # a spreadsheet computes a cell that begins so


def csv_pieces(runs: Iterable[tuple[str, str, Iterable[MetricsLine]]]) -> Iterator[bytes]:
    """The file in pieces; `runs`: id, name and lines of each."""
    rows: list[dict[str, Any]] = []
    yield _text([], header=True)
    for run, name, lines in runs:
        shown = f"'{name}" if name.startswith(FORMULA) else name
        for line in lines:
            figures = {key: line[old] for key, (kind, old) in SHOWN.items() if kind == line["kind"] and old in line}
            if figures:
                rows.append({"run": run, "name": shown, "step": line["step"], "time": line.get("time", "")} | figures)
            if len(rows) == ROWS:
                yield _text(rows)
                rows = []
    yield _text(rows)


def _text(rows: list[dict[str, Any]], header: bool = False) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
