"""Rows of Excel workbooks, as if the sheet had been saved as CSV."""

from collections.abc import Iterator
from datetime import date, time
from pathlib import Path

from llm.errors import DataError, Place, RecordError
from llm.files.regular_files import SETTINGS, check_regular
from llm.rows.raw_row import RawRow, broken, place_of

MOST = 4 * SETTINGS  # bytes of a workbook; the texts of all its sheets are held in memory


def sheet_rows(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a workbook's only sheet by the names in its first row; empty rows are left out.

    Cells are text, as in CSV. Raises ImportError without openpyxl, DataError for a workbook of several filled sheets.
    """
    try:
        import openpyxl
    except ImportError as error:
        advice = "pip install 'eyegraft[excel]', or save the sheet as CSV"
        raise ImportError(f"{path}: reading Excel files needs a package: {advice}") from error
    from zipfile import BadZipFile

    from openpyxl.utils.exceptions import InvalidFileException

    try:
        check_regular(path, MOST)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (OSError, KeyError, ValueError, BadZipFile, InvalidFileException) as error:
        found = f"not a valid Excel workbook: {error}"
        yield broken(RecordError(Place(str(path)), "Excel", found, "Save it again, or save it as CSV", "sheet-broken"))
        return
    sheets = {
        sheet.title: sheet
        for sheet in book.worksheets
        if any(map(_filled, sheet.iter_rows(max_row=2, values_only=True)))
    }
    if len(sheets) > 1:
        raise DataError(f"{path}: has the sheets {', '.join(sheets)}. Save the one to train on as CSV")
    for sheet in sheets.values():
        yield from _rows(path, sheet.iter_rows(values_only=True))


def _rows(path: Path, rows: Iterator[tuple[object, ...]]) -> Iterator[RawRow]:
    header: list[str] = []
    for number, cells in enumerate(rows, 1):
        texts = [_text(cell) for cell in cells]
        if not any(texts):
            continue
        place = Place(str(path), number)
        if not header:
            header = _without_empty_end(texts)
            if "" in header or len(set(header)) < len(header):
                found, advice = f"column names {', '.join(header)}", "Give every column a unique name in the first row"
                yield broken(RecordError(place, "Excel", found, advice, "sheet-broken"))
                return
            continue
        if any(texts[len(header) :]):
            found, advice = f"{len(_without_empty_end(texts))} cells under {len(header)} columns", "Name every column"
            yield broken(RecordError(place, "Excel", found, advice, "sheet-broken"), "\t".join(texts))
            continue
        row = dict(zip(header, texts, strict=False))
        yield RawRow(place_of(str(path), number, row), row)


def _filled(cells: tuple[object, ...]) -> bool:
    return any(cell not in (None, "") for cell in cells)


def _without_empty_end(texts: list[str]) -> list[str]:
    return texts[: max((number for number, text in enumerate(texts, 1) if text), default=0)]


def _text(cell: object) -> str:
    """A cell as Excel would save it in CSV, except for number formats."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)
