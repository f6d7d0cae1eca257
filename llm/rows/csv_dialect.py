"""Which character separates the cells of a CSV file: Excel writes semicolons where the comma is a decimal mark."""

import csv
import re
from io import StringIO
from typing import TextIO

_DELIMITERS = (",", ";", "\t", "|")
_LOOK = 1 << 16  # characters from which the delimiter is found
_ROWS = 20
_EXCEL = re.compile(r"sep=(.)\r?\n")  # the first line by which files tell Excel their delimiter


def find_dialect(file: TextIO, usual: str) -> tuple[str, int]:
    """(delimiter, lines before the header). `usual`, unless only another divides the first rows evenly.

    Evenly: two or more cells in the header, and as many in every row. A file of a single column has the usual one.
    """
    text = file.read(_LOOK)
    if named := _EXCEL.match(text):
        return named[1], 1
    divided = [delimiter for delimiter in dict.fromkeys((usual, *_DELIMITERS)) if _divides(text, delimiter)]
    return (divided[0] if divided else usual), 0


def _divides(text: str, delimiter: str) -> bool:
    """Whether the first rows have equally many cells under two or more different names."""
    rows: list[list[str]] = []
    complete = len(text) < _LOOK
    try:
        for cells in csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True):
            rows += [cells] if cells else []
            if len(rows) > _ROWS:
                break
        else:
            rows = rows if complete else rows[:-1]  # the text may end inside a row
    except csv.Error as error:
        if complete or "unexpected end of data" not in str(error):
            return False
    if not rows:
        return False
    header = rows[0]
    return len(header) > 1 and len(set(header)) == len(header) and all(len(cells) == len(header) for cells in rows)
