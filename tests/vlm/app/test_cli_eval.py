"""`eyegraft eval MODEL --on FILE` and `eyegraft compare`, as a user types them, on a tiny random model."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from tests.data_tools.ask.stub import Act, listening
from tests.vlm.conftest import save_llm
from vlm.app import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `eyegraft` with some arguments inside this process; returns its exit code and outputs."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["eyegraft", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Multiple choice in MMBench's TSV, two circular passes of each question."""
    lines = ["index\tquestion\tA\tB\tanswer\tcategory"]
    for number in range(6):
        category = "odd" if number % 2 else "even"
        right, wrong, text = number + 1, number + 3, f"What is {number} + 1?"
        lines.append(f"{number}\t{text}\t{right}\t{wrong}\tA\t{category}")
        lines.append(f"{1_000_000 + number}\t{text}\t{wrong}\t{right}\tB\t{category}")
    file = tmp_path / "letters.tsv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_model_on_a_benchmark(run: Run, roomy_llm: Path, letters: Path, tmp_path: Path) -> None:
    code, out, _ = run("eval", roomy_llm, "--on", letters, "--out", tmp_path / "out")
    assert code == 0 and "circular_accuracy" in out and "12 questions, letters" in out
    report = json.loads((tmp_path / "out" / "report.json").read_text())["benchmarks"][0]
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers-letters.jsonl").read_text().splitlines()]
    right = {row["id"]: row["score"] for row in rows}
    both = [right[str(number)] * right[str(1_000_000 + number)] for number in range(6)]
    found = {line["name"]: line["value"] for line in report["metrics"]}
    assert found["circular_accuracy"] == pytest.approx(sum(both) / 6)
    assert found["accuracy"] == pytest.approx(sum(right.values()) / 12)
    assert {row["answer"] for row in rows} <= {"A", "B"}, "letters are compared, not written"


def test_part_of_the_questions(run: Run, roomy_llm: Path, letters: Path, tmp_path: Path) -> None:
    code, out, _ = run("eval", roomy_llm, "--on", letters, "--limit", 5, "--out", tmp_path / "out")
    assert code == 0 and "4 questions" in out, "the passes of a question stay together"


def test_two_models_compared(run: Run, roomy_llm: Path, letters: Path, tmp_path: Path) -> None:
    first, other = copytree(roomy_llm, tmp_path / "first"), save_llm(tmp_path / "other", 300, tied=True)
    code, out, _ = run("compare", first, other, "--on", letters)
    assert code == 0 and "multiple choice: " in out
    assert "circular_accuracy" in out.splitlines()[-1] and "95 % interval" in out.splitlines()[-1]
    for folder in (first, other):
        report = folder / "benchmarks" / "letters" / "report.html"
        assert "<table" in report.read_text()


def test_a_model_at_an_endpoint(run: Run, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its report is beside those of other models, and its answers are texts that are read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with listening(lambda request: Act("The answer is A.")) as stub:
        code, out, _ = run("eval", "org/big", "--on", letters, "--endpoint", stub.url)
    assert code == 0 and "evaluations/org-big/letters/report.html" in out
    report = json.loads((tmp_path / "evaluations" / "org-big" / "letters" / "report.json").read_text())
    found = {line["name"]: line["value"] for line in report["benchmarks"][0]["metrics"]}
    assert (found["accuracy"], found["circular_accuracy"]) == (0.5, 0.0), "always A is right in one pass of two"
    assert len(stub.asked) == 12 and report["model"] == f"org/big at {stub.url}"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["eval", "{model}", "--on", "{letters}", "--data", "x.json"], "Give one of them"),
        (["eval", "{model}", "vqa.limit=3", "--on", "{letters}"], "keys of a recipe"),
        (["compare", "{model}", "{model}"], "compare needs --on"),
        (["eval", "{model}", "--data", "x.json", "--generate"], "--generate is for questions that --on names"),
        (["eval", "gpt", "--on", "{letters}", "--endpoint", "http://x/v1", "--bits", "4"], "--bits is for models of"),
        (["eval", "{model}/none", "--on", "{letters}"], "no such folder"),
        (["eval", "{model}", "--on", "{letters}", "--form", "pop"], "form pop is unknown"),
        (["eval", "{model}", "--on", "{letters}.gz"], "no such file"),
        (["eval", "gpt", "--on", "{letters}", "--endpoint", "somewhere"], "--endpoint somewhere: is not a URL"),
    ],
)
def test_mistakes_are_explained(run: Run, roomy_llm: Path, letters: Path, arguments: list[str], found: str) -> None:
    code, _, err = run(*(one.format(model=roomy_llm, letters=letters) for one in arguments))
    assert code != 0 and found in err, err
