"""MMLU, C-Eval and CMMLU: files by subject, whose `dev` files give the answered questions that are shown first."""

import csv
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from llm.errors import Place, RecordError
from llm.files.bounded_lines import LONGEST, bounded_lines
from llm.rows.compressed import open_rows, suffix_of
from llm.rows.encodings import find_encoding_error
from vlm.questions.file_rows import FileRows, Item

COLUMNS = ("question", "A", "B", "C", "D", "answer")
SHOTS = 5
_SPLIT = re.compile(r"_(dev|val|test)$")
_LOOK = 8


def is_headless(path: Path) -> bool:
    """Whether a CSV file has no header: its first rows are question, four options and a letter."""
    if suffix_of(path) != ".csv":
        return False
    try:
        rows = [cells for _, cells in zip(range(_LOOK), _cells(path), strict=False)]
    except RecordError:
        return False
    return bool(rows) and all(len(cells) == len(COLUMNS) and cells[-1].strip() in tuple("ABCD") for _, cells in rows)


def headless_rows(path: Path) -> FileRows:
    """The rows of such a file; a row of other columns is lost, and so is the rest of a broken file."""
    found = FileRows(path)
    try:
        for line, cells in _cells(path):
            place = Place(str(path), line)
            if error := find_encoding_error(place, ",".join(cells)):
                found.lost.append(error)
            elif len(cells) != len(COLUMNS):
                advice = "Write question, A, B, C, D and the letter, and quote cells with commas"
                found.lost.append(RecordError(place, "CSV", f"{len(cells)} cells, not 6", advice, "csv-broken"))
            else:
                found.items.append(Item(place, dict(zip(COLUMNS, cells, strict=True))))
    except RecordError as error:
        found.lost.append(error)
    return found


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every row that is not empty. Raises RecordError where the CSV is broken."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    with TextIOWrapper(open_rows(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader((line for _, line in bounded_lines(file)), strict=True)
        line = 0
        try:
            for cells in rows:
                start, line = line + 1, rows.line_num
                if cells:
                    yield start, cells
        except csv.Error as error:
            found = f"{error} in the row that begins here"
            place = Place(str(path), line + 1)
            advice = "Correct the quotes, or write the data as JSONL"
            raise RecordError(place, "CSV", found, advice, "csv-broken") from None


def subject_of(path: Path) -> str:
    """The subject that a file is of by its name: `anatomy` of anatomy_test.csv; empty for test-00000-of-00001."""
    name = path.name.partition(".")[0]
    if re.fullmatch(r"(dev|val|validation|test|auxiliary_train|train)(-\d{5}-of-\d{5})?", name):
        folder = path.parent.name
        return "" if folder in ("", "all", "data") else folder
    return _SPLIT.sub("", name)


def shots_file(path: Path) -> Path | None:
    """The `dev` file of a val or test file: the same name in ../dev, or with dev in place of val or test."""
    name = path.name.partition(".")[0]
    suffix = path.name[len(name) :]
    renamed = _SPLIT.sub("_dev", name) + suffix
    names = [path.parent.parent / "dev" / renamed, path.with_name(renamed)]
    if shard := re.fullmatch(r"(?:val|validation|test)(-\d{5}-of-\d{5})?", name):
        names = [path.with_name(f"dev{shard[1] or ''}{suffix}")]
    return next((one for one in names if one != path and one.is_file()), None)


def tested_files(folder: Path) -> list[Path]:
    """The files to ask of a folder with test/ or val/ beside dev/, as MMLU, C-Eval and CMMLU have; [] for others.

    `test` where its answers are there; C-Eval hides them, so that `val` is asked where both are.
    """
    if not (folder / "dev").is_dir():
        return []
    for split in ("test", "val"):
        files = sorted(path for path in (folder / split).glob("*") if suffix_of(path) in (".csv", ".parquet"))
        if files and (split == "val" or is_headless(files[0]) or not (folder / "val").is_dir() or _answers(files[0])):
            return files
    return []


def _answers(path: Path) -> bool:
    """Whether a CSV with a header has a column of answers."""
    with TextIOWrapper(open_rows(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return "answer" in file.readline(1 << 16).strip().lower().split(",")
