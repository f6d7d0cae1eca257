"""`eyegraft data check FILE --fix OUT`: sound and repaired records to one file, others to a second.

The input is never written to. JSON records keep their text; broken JSON goes to the quarantine file as text.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from data_tools.check.check import ProgressCallback, RowFindings, check_rows
from data_tools.check.report import CheckReport, FindingCounter
from data_tools.check.rules import CheckRules, CheckState
from data_tools.rows.row_output import byte_writer, check_output, row_writer
from llm.config.schema import Source
from llm.errors import ConfigError
from llm.rows.files import data_files


@dataclass(frozen=True, slots=True)
class FixResult:
    """The report on the input, and how many records went to `out` and to `quarantine`.

    `changed` of those in `out` were repaired or name downloaded images; `changes` lists how.
    """

    report: CheckReport
    kept: int
    quarantined: int
    out: Path
    quarantine: Path
    changed: int = 0
    changes: Path | None = None


def fix(
    source: Source, base: Path, out: Path, rules: CheckRules, progress: ProgressCallback | None = None
) -> FixResult:
    """Check a source; write its sound records to `out` and the others to `<out stem>.quarantine.jsonl` beside it.

    Both files are written atomically. Raises ConfigError when `out` is the input or cannot hold its records.
    """
    local = base / Path(source.path).expanduser()
    quarantine = out.with_name(f"{out.stem}.quarantine.jsonl")
    _check_paths(local, source.split, out, quarantine)
    counter, state, kept, quarantined, changed = FindingCounter(rules.keep), CheckState(), 0, 0, 0
    listed: list[dict[str, object]] = []
    with row_writer(out, data_files(local, source.split)) as write, byte_writer(quarantine) as write_bytes:
        for row in check_rows(source, base, replace(rules, repair=True), state):
            counter.add(row.row, row.findings)
            if row.row and not row.bad:
                write(row.raw.place, row.raw.value, "" if row.changed else row.raw.text)
                kept += 1
                changed += row.changed
                listed += [{"row": row.row, "line": row.raw.place.line, **asdict(change)} for change in row.changes]
            quarantined += _quarantine(row, write_bytes)
            if progress:
                progress(counter.rows, state.images)
    changes = _write_changes(out, listed)
    report = counter.report(images=state.images, videos=state.videos)
    return FixResult(report, kept, quarantined, out, quarantine, changed, changes)


def _write_changes(out: Path, listed: list[dict[str, object]]) -> Path | None:
    """Write the list of changes beside `out` and return its path; None, and no file of an earlier call, without any."""
    path = out.with_name(f"{out.stem}.changes.jsonl")
    if not listed:
        path.unlink(missing_ok=True)
        return None
    with byte_writer(path) as write:
        for change in listed:
            write(json.dumps(change, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    return path


def _quarantine(row: RowFindings, write: Callable[[bytes], object]) -> bool:
    """Write a bad record, or an error between records, with its findings. True when it was a record."""
    if not row.bad:
        return False
    entry: dict[str, object] = {"row": row.row, "findings": [finding.as_json() for finding in row.findings]}
    if row.raw.value is None and row.raw.text:
        entry["text"] = row.raw.text.encode("utf-8", "backslashreplace").decode("utf-8")
    elif row.row:
        entry["record"] = row.raw.value
    line = json.dumps(entry, ensure_ascii=False, default=_jsonable)
    write(line.encode("utf-8", "backslashreplace") + b"\n")
    return row.row > 0


def _jsonable(value: object) -> str:
    """A value that JSON has no type for: bytes as base64, dates and the like as text."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


def _check_paths(source: Path, split: str, out: Path, quarantine: Path) -> None:
    if not source.exists():
        raise ConfigError(f"{source}: there is no such file or folder; --fix reads local files. Correct the path")
    for path in (out, quarantine):
        if path.resolve() == source.resolve() or source.resolve() in path.resolve().parents:
            raise ConfigError(f"--fix {out}: the input is never written to. Name another file outside {source}")
    check_output(out, data_files(source, split))
