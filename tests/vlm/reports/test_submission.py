"""Files for MMBench's server, read back by openpyxl and by csv."""

import csv
import sys
from pathlib import Path

import openpyxl
import pytest

from vlm.questions.question import Question
from vlm.reports.submission import submission_rows, wants_submission, write_submission

TWO = {"A": "a cat", "B": "=1+1"}
ASKED = (
    Question("7", "7", "letters", "Which\tone?", options=TWO),
    Question(
        "1000007", "7", "letters", "Which\x00 one?", options={"A": "=1+1", "B": "a cat", "C": "x", "D": "y", "E": "z"}
    ),
    Question("q3", "q3", "letters", "是哪个？", options=TWO, answers=("A",)),
)
ROWS = [
    ["index", "question", "A", "B", "C", "D", "E", "prediction"],
    [7, "Which\tone?", "a cat", "=1+1", "", "", "", "B"],
    [1000007, "Which one?", "=1+1", "a cat", "x", "y", "z", "E"],
    ["q3", "是哪个？", "a cat", "=1+1", "", "", "", "I cannot"],
]
ANSWERS = ["B", "E", "I cannot"]


def test_hidden_letters_are_submitted() -> None:
    assert wants_submission(ASKED) and not wants_submission(ASKED[2:]) and not wants_submission(())
    assert not wants_submission([*ASKED, Question("4", "4", "exact", "what?")]), "not letters alone"


def test_the_workbook(tmp_path: Path) -> None:
    """Texts are texts: `=1+1` is no formula."""
    path = write_submission(tmp_path, ASKED, ANSWERS)
    sheet = openpyxl.load_workbook(path).active
    assert path.name == "submission.xlsx" and sheet is not None
    assert [["" if value is None else value for value in row] for row in sheet.iter_rows(values_only=True)] == ROWS
    assert sheet["D2"].data_type == "s"


def test_without_openpyxl_a_tsv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    path = write_submission(tmp_path, ASKED, ANSWERS)
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file, delimiter="\t"))
    assert path.name == "submission.tsv" and found == [[str(value) for value in row] for row in ROWS]


def test_four_letters_at_least() -> None:
    assert submission_rows(ASKED[:1], ["A"])[0] == ["index", "question", "A", "B", "C", "D", "prediction"]
