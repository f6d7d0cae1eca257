"""An evaluation on benchmark files: right scores, a blind pass, one line a question, and resumed after a kill."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import openpyxl
import pytest
from PIL import Image

from llm.errors import DataError, RunError
from llm.formats.conversation import ImageRef
from vlm.evaluate.answerer import Answer, Prompt
from vlm.evaluate.benchmark_run import Asking, run_benchmarks
from vlm.questions.question_files import read_questions
from vlm.reports.answer_rows import read_answer_rows


class Scripted:
    """Answers yes where an image is shown and no without one, and letters by a table; stops after `dies` answers."""

    name = "scripted"

    def __init__(self, dies: int = 10**6) -> None:
        self.asked: list[Prompt] = []
        self._dies = dies

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Answer]]:
        for number in reversed(range(len(prompts))):
            if len(self.asked) == self._dies:
                raise KeyboardInterrupt
            prompt = prompts[number]
            self.asked.append(prompt)
            sees = any(isinstance(part, ImageRef) for message in prompt.messages for part in message.parts)
            yield number, Answer("Yes" if sees else "No, I do not see it.")


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    """Four questions about two images; two are to be answered with yes."""
    for name, color in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (8, 8), color).save(tmp_path / f"{name}.png")
    rows = [
        {"question_id": number, "image": f"{image}.png", "text": f"Is there a {thing} in the image?", "label": label}
        for number, (image, thing, label) in enumerate(
            [("a", "dog", "yes"), ("a", "cat", "no"), ("b", "dog", "yes"), ("b", "car", "no")]
        )
    ]
    file = tmp_path / "pope.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_scores_blind_pass_and_files(pope: Path, tmp_path: Path) -> None:
    answerer = Scripted()
    [result] = run_benchmarks(answerer, "weights", read_questions([pope]), tmp_path / "out")
    lines = {line.name: line for line in result.benchmark.metrics}
    assert (lines["accuracy"].value, lines["accuracy"].blind, lines["accuracy"].chance) == (0.5, 0.5, 0.5)
    assert (lines["yes_share"].value, lines["yes_share"].blind) == (1.0, 0.0)
    assert (lines["recall"].value, lines["precision"].value) == (1.0, 0.5)
    assert len(answerer.asked) == 4 + 3, "without its image, a question that is asked twice is one prompt"
    rows = read_answer_rows(tmp_path / "out" / "answers-pope.jsonl")
    assert [(row.id, row.answer, row.parsed, row.score) for row in rows] == [
        ("0", "Yes", "yes", 1.0), ("1", "Yes", "yes", 0.0), ("2", "Yes", "yes", 1.0), ("3", "Yes", "yes", 0.0),
    ]  # fmt: skip
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["model"] == "scripted" and report["benchmarks"][0]["main"] == "f1"
    assert "| f1 | 66.7 |" in (tmp_path / "out" / "report.md").read_text()
    assert "data:image/jpeg;base64," in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "partial.jsonl").exists()


def test_a_killed_evaluation_goes_on_where_it_was(pope: Path, tmp_path: Path) -> None:
    sets = read_questions([pope])
    shown: list[tuple[int, int]] = []
    first = Scripted(dies=3)
    with pytest.raises(KeyboardInterrupt):
        run_benchmarks(first, "weights", sets, tmp_path / "out")
    journal = tmp_path / "out" / "partial.jsonl"
    journal.write_text(journal.read_text()[:-9])  # the last line was being written
    second = Scripted()
    run_benchmarks(second, "weights", sets, tmp_path / "out", show=lambda *counts: shown.append(counts))
    assert len(second.asked) == 7 - 2 and shown[0] == (2, 7) and shown[-1] == (7, 7)
    assert set(second.asked).isdisjoint(first.asked[:2])


@pytest.mark.parametrize("change", ["weights", "image", "prompt"])
def test_answers_of_another_evaluation_are_not_taken(change: str, pope: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_benchmarks(Scripted(dies=3), "weights", read_questions([pope]), tmp_path / "out")
    if change == "image":
        Image.new("RGB", (9, 9), "green").save(tmp_path / "a.png")
    asking = Asking(lang="zh") if change == "prompt" else Asking()
    second = Scripted()
    model = "others" if change == "weights" else "weights"
    run_benchmarks(second, model, read_questions([pope]), tmp_path / "out", asking)
    assert len(second.asked) == 7


def test_without_a_blind_pass(pope: Path, tmp_path: Path) -> None:
    answerer = Scripted()
    [result] = run_benchmarks(answerer, "w", read_questions([pope]), tmp_path / "out", Asking(blind=False))
    assert len(answerer.asked) == 4 and all(line.blind is None for line in result.benchmark.metrics)


def test_folders_of_others_and_empty_sets_are_refused(pope: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("someone's")
    with pytest.raises(RunError, match=r"report\.html"):
        run_benchmarks(Scripted(), "w", read_questions([pope]), tmp_path)
    with pytest.raises(DataError, match="no question is left"):
        run_benchmarks(Scripted(), "w", [], tmp_path / "out")


def test_hidden_letters_get_a_file_for_the_server(tmp_path: Path) -> None:
    file = tmp_path / "mmbench_test.tsv"
    file.write_text("index\tquestion\tA\tB\n1\twhich?\tYes\tno\n2\twhy?\tno\tbecause\n")
    run_benchmarks(Scripted(), "weights", read_questions([file]), tmp_path / "out")
    sheet = openpyxl.load_workbook(tmp_path / "out" / "submission.xlsx").active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0] == ("index", "question", "A", "B", "C", "D", "prediction")
    assert [(row[0], row[-1]) for row in rows[1:]] == [(1, "B"), (2, "A")], "the options whose text was given"
