"""Pages of metrics from either end: every line once, in order, whatever is between them."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm.errors import RunError
from vlm.run_folders import metrics_pages
from vlm.run_folders.metrics_pages import lines_after, lines_before


def write(run: Path, count: int, pad: int = 0) -> None:
    texts = [json.dumps({"kind": "train", "step": step, "pad": "x" * pad}) for step in range(1, count + 1)]
    texts[count // 2 : count // 2] = ["", "no line", '{"kind": "train"}']  # what training does not write
    (run / "metrics.jsonl").write_text("\n".join(texts) + '\n{"kind": "train", "step": 99999')


def backwards(run: Path, limit: int) -> list[list[int]]:
    pages, place = [], None
    while True:
        lines, more = lines_before(run, place, limit)
        pages.append([line["step"] for _, line in lines])
        if not more:
            return pages
        place = lines[-1][0]


def forwards(run: Path, limit: int) -> list[int]:
    found: list[int] = []
    place = 0
    while lines := lines_after(run, place, limit):
        found += [line["step"] for _, line in lines]
        place = lines[-1][0]
    return found


@pytest.mark.parametrize("pad", [0, 500])
def test_every_line_comes_once(tmp_path: Path, pad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 256 bytes: a page is read in several, and a line may be longer than the first."""
    monkeypatch.setattr(metrics_pages, "BLOCK", 256)
    write(tmp_path, 25, pad)
    pages = backwards(tmp_path, 10)
    assert pages == [list(range(25, 15, -1)), list(range(15, 5, -1)), [5, 4, 3, 2, 1]]
    assert forwards(tmp_path, 10) == list(range(1, 26))


def test_lines_that_come_later_are_next(tmp_path: Path) -> None:
    write(tmp_path, 3)
    file = tmp_path / "metrics.jsonl"
    ((last, line),), _ = lines_before(tmp_path, None, 1)
    assert line["step"] == 3 and lines_after(tmp_path, last, 9) == []
    file.write_text(file.read_text() + "}\n")
    assert [one["step"] for _, one in lines_after(tmp_path, last, 9)] == [99999]


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    write(tmp_path, 3)
    assert lines_after(tmp_path, 10_000, 9) == []
    assert [line["step"] for _, line in lines_before(tmp_path, 10_000, 9)[0]] == [3, 2, 1]


def test_no_file_and_none_that_can_be_read(tmp_path: Path) -> None:
    assert lines_before(tmp_path, None, 9) == ([], False) and lines_after(tmp_path, 0, 9) == []
    (tmp_path / "metrics.jsonl").mkdir()
    for read in (lambda: lines_before(tmp_path, None, 9), lambda: lines_after(tmp_path, 0, 9)):
        with pytest.raises(RunError, match="cannot be read"):
            read()


@pytest.mark.parametrize(
    "odd", [{"step": 10**400}, {"step": -1}, {"step": True}, {"step": "1"}, {"kind": 7}, {"kind": None}]
)
def test_lines_that_training_does_not_write(tmp_path: Path, odd: dict[str, Any]) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 1, **odd}) + "\n")
    assert lines_after(tmp_path, 0, 9) == []
