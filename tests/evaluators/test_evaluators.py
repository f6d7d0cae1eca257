"""inspect-ai and lm-eval, from an environment of their own, against a tiny model: no request fails, all scores agree.

`make test` makes the environment before the tests. Where it could not, they are skipped with the reason.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluators.agreement import compare
from tests.evaluators.campaign import Models, Outcome, ask_ourselves, ask_programs, prepare
from tests.evaluators.environments import folder_of, why_missing
from tests.evaluators.files import CIRCLE, MMBENCH, POPE, make_files
from tests.evaluators.models import train_tiny
from tests.evaluators.programs import PROGRAMS, Said
from tests.evaluators.tasks.prompts import letter_of
from vlm.scores.answer_reading import read_letter

QUESTIONS, EPOCHS = 8, 25


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """What each program of the environment `core` found, by its name."""
    if reason := why_missing("core"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("files")
    make_files(folder, None, QUESTIONS)
    prepare(folder)
    run, llm = train_tiny(tmp_path_factory.mktemp("tiny") / "models", folder, EPOCHS)
    models = Models(run, run, llm)
    chosen, environments = [one for one in PROGRAMS if one.environment == "core"], {"core": folder_of("core")}
    ask_ourselves(folder, models, chosen)
    yield {one.program.name: one for one in ask_programs(folder, models, environments, chosen)}


def test_no_request_fails(outcomes: dict[str, Outcome]) -> None:
    assert [*outcomes] and all(set(one.statuses) == {"200"} for one in outcomes.values())
    numbers = {name: one.statuses["200"] for name, one in outcomes.items()}
    assert numbers["lm-eval, letters by probability"] == 4 * QUESTIONS, "a request for each letter"
    assert numbers["lm-eval, chat"] == QUESTIONS and numbers["inspect-ai"] == 3 * QUESTIONS


def test_every_score_and_every_text_is_ours(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        assert all(one.complete for one in outcome.agreements), outcome.as_json()
    asked = {(name, one.file) for name, outcome in outcomes.items() for one in outcome.agreements}
    assert {file for name, file in asked if name == "inspect-ai"} == {"mmlu", POPE, MMBENCH}
    numbers = [one.distinct for outcome in outcomes.values() for one in outcome.agreements if one.file != POPE]
    assert min(numbers) > 1, "a constant proves little"


def test_a_difference_is_counted(tmp_path: Path) -> None:
    rows = ['{"answer": "A", "score": 1.0}', '{"answer": "B", "score": 0.0}', '{"answer": "C", "score": 0.0}']
    (tmp_path / "answers-mmlu.jsonl").write_text("\n".join(rows) + "\n")
    said = [Said(" A", 1.0), Said("D", 0.0), Said("C", 1.0)]
    (written,) = compare({"mmlu": said}, tmp_path)
    assert (written.questions, written.same_score, written.same_text, written.distinct) == (3, 2, 2, 3)
    assert (written.theirs, written.ours, written.complete) == (0.6667, 0.3333, False)
    (equal,) = compare({"mmlu": [Said("A", 1.0), Said("B", 0.0), Said("C", 0.0)]}, tmp_path)
    assert equal.complete
    (other,) = compare({"mmlu": [Said("A", 1.0), Said("D", 0.0), Said("C", 0.0)]}, tmp_path)
    assert other.same_score == 3 and not other.complete, "another wrong letter is another answer"
    with pytest.raises(AssertionError, match="2 answers, not 3"):
        compare({"mmlu": said[:2]}, tmp_path)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("(C)", "C"), ("B. 11", "B"), ("A\n\nThe answer is A", "A"), ("The answer is D", "D"),
        ("The answer is 11.", "B"), ("It is 12 or 11", ""), ("The answer is 111", ""), ("", ""), ("A dog", ""),
    ],
)  # fmt: skip
def test_the_letter_of_an_answer(answer: str, letter: str) -> None:
    """Also as `eyegraft eval` reads it."""
    options = ["10", "11", "12", "13"]
    assert letter_of(answer, options) == letter
    assert (read_letter(answer, dict(zip("ABCD", options, strict=True))) or "") == letter


def test_the_files_have_circular_passes_and_both_labels(tmp_path: Path) -> None:
    make_files(tmp_path, None, QUESTIONS)
    lines = (tmp_path / MMBENCH).read_text().splitlines()
    indices = [int(line.split("\t")[0]) for line in lines[1:]]
    assert indices == [group + turn * CIRCLE for group in range(QUESTIONS // 4) for turn in range(4)]
    labels = (tmp_path / POPE).read_text()
    assert labels.count('"label": "yes"') == labels.count('"label": "no"') == QUESTIONS // 2
