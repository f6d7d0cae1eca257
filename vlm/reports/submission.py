"""The file that MMBench's server wants for a split whose answers it keeps: the rows with a column `prediction`.

The server reads xlsx, csv and tsv. Columns are those of the file without image, hint and categories, as in LLaVA's
`convert_mmbench_for_submission.py`.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from llm.files.atomic_files import atomic_file, write_atomically
from vlm.questions.question import Question

XLSX, TSV = "submission.xlsx", "submission.tsv"
LETTERS = 4  # columns that the server wants, filled or not
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")  # in a workbook's XML


def wants_submission(questions: Sequence[Question]) -> bool:
    """Whether these are questions with letters of which some answers are hidden."""
    return any(one.is_hidden for one in questions) and all(one.options for one in questions)


def write_submission(folder: Path, questions: Sequence[Question], answers: Sequence[str]) -> Path:
    """Write the file into a folder and return its path: a workbook or, without openpyxl, a TSV file."""
    rows = submission_rows(questions, answers)
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError:
        written = io.StringIO()
        csv.writer(written, delimiter="\t", lineterminator="\n").writerows(rows)
        write_atomically(folder / TSV, written.getvalue())
        return folder / TSV
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    for row in rows:
        cells = [WriteOnlyCell(sheet, value) for value in row]
        for cell, value in zip(cells, row, strict=True):
            if isinstance(value, str):
                cell.data_type = "s"  # also where it begins with =, which would be a formula
        sheet.append(cells)
    with atomic_file(folder / XLSX) as partial, partial.open("wb") as file:
        book.save(file)
    return folder / XLSX


def submission_rows(questions: Sequence[Question], answers: Sequence[str]) -> list[list[str | int]]:
    """The rows, their names first. An index is a number where it is one in the file."""
    most = max([LETTERS, *(len(one.options) for one in questions)])
    letters = ascii_uppercase[:most]
    rows: list[list[str | int]] = [["index", "question", *letters, "prediction"]]
    for question, answer in zip(questions, answers, strict=True):
        texts = [question.text, *(question.options.get(letter, "") for letter in letters), answer]
        number = question.id.isascii() and question.id.isdecimal() and len(question.id) < 16
        rows.append([int(question.id) if number else question.id, *(_FORBIDDEN.sub("", text) for text in texts)])
    return rows
