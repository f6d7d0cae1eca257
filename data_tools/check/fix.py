"""`eyegraft data check FILE --fix OUT`: the rows that can be trained on as they were, the others with their findings.

The input is never written to. Rows of JSON keep their very text; broken ones go into the quarantine as text.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data_tools.check.check import ProgressCallback, RowFindings, check_rows
from data_tools.check.report import CheckReport, FindingCounter
from data_tools.check.rules import CheckRules, CheckState
from data_tools.rows.row_output import byte_writer, check_output, row_writer
from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.row_files import data_files


@dataclass(frozen=True, slots=True)
class FixResult:
    """What a fix came to: the report on the input, and how many rows went where."""

    report: CheckReport
    kept: int
    quarantined: int
    out: Path
    quarantine: Path


def fix(
    source: Source, base: Path, out: Path, rules: CheckRules, progress: ProgressCallback | None = None
) -> FixResult:
    """Check a file and write its sound rows to `out` and the others to `<out stem>.quarantine.jsonl` beside it.

    Both appear whole at the end, or not at all. Raises ConfigError where `out` is the input or of another kind.
    """
    local = base / Path(source.path).expanduser()
    quarantine = out.with_name(f"{out.stem}.quarantine.jsonl")
    _refuse(local, out, quarantine)
    tally, memory, kept, away = FindingCounter(rules.keep), CheckState(), 0, 0
    with row_writer(out, data_files(local)) as write, byte_writer(quarantine) as put:
        for row in check_rows(source, base, rules, memory):
            tally.add(row.row, row.findings)
            if row.row and not row.bad:
                write(row.raw.place, row.raw.value, "" if row.changed else row.raw.text)
                kept += 1
            away += _quarantine(row, put)
            if progress:
                progress(tally.rows, memory.looked)
    tally.images = memory.looked
    return FixResult(tally.report(), kept, away, out, quarantine)


def _quarantine(row: RowFindings, put: Callable[[bytes], object]) -> bool:
    """Write a bad row with its findings, and what is wrong between rows; True for a row."""
    if not row.bad:
        return False
    entry: dict[str, object] = {"row": row.row, "findings": [finding.as_json() for finding in row.findings]}
    if row.raw.value is None and row.raw.text:
        entry["text"] = row.raw.text.encode("utf-8", "backslashreplace").decode("utf-8")
    elif row.row:
        entry["record"] = row.raw.value
    line = json.dumps(entry, ensure_ascii=False, default=_encoded)
    put(line.encode("utf-8", "backslashreplace") + b"\n")
    return row.row > 0


def _encoded(value: object) -> str:
    """What JSON cannot say: pictures as base64, dates and the like as text."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


def _refuse(source: Path, out: Path, quarantine: Path) -> None:
    if not source.exists():
        raise ConfigError(f"{source}: there is no such file or folder; --fix reads local files. Correct the path")
    for path in (out, quarantine):
        if path.resolve() == source.resolve() or source.resolve() in path.resolve().parents:
            raise ConfigError(f"--fix {out}: the input is never written to. Name another file outside {source}")
    check_output(out, data_files(source))
