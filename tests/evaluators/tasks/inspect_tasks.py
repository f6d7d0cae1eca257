"""Inspect's tasks: `inspect eval inspect_tasks.py@pope`, beside the benchmark files."""

import base64
import csv
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample, json_dataset
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, pattern, scorer
from inspect_ai.solver import TaskState, generate
from prompts import examination_prompt, letter_of, letters_prompt, yes_no_prompt

HERE = Path(__file__).parent


@task
def mmlu() -> Task:
    """MMLU's CSV files of all subjects, each after the five answered questions of dev."""
    samples: list[Sample] = []
    for file in sorted((HERE / "mmlu" / "test").glob("*_test.csv")):
        subject = file.stem.removesuffix("_test")
        shots = _cells(HERE / "mmlu" / "dev" / f"{subject}_dev.csv")
        samples += [
            Sample(input=examination_prompt(subject, shots, cells), target=cells[5], metadata={"options": cells[1:5]})
            for cells in _cells(file)
        ]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=letter())


@task
def pope(file: str = "pope_random.jsonl") -> Task:
    """POPE's JSON lines."""

    def sample(row: dict[str, Any]) -> Sample:
        image = base64.b64encode((HERE / row["image"]).read_bytes()).decode()
        return Sample(input=_shown(image, yes_no_prompt(row)), target=row["label"])

    return Task(dataset=json_dataset(str(HERE / file), sample), solver=generate(), scorer=pattern(r"^\W*(\w+)"))


@task
def mmbench(file: str = "mmbench.tsv") -> Task:
    """MMBench's table; a cell of digits names the row that holds the image."""
    csv.field_size_limit(2**24)
    with (HERE / file).open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    images = {row["index"]: row["image"] for row in rows}
    samples = [
        Sample(
            input=_shown(images.get(row["image"], row["image"]), letters_prompt(row)), target=row["answer"],
            metadata={"options": [row[one] for one in "ABCDE" if row.get(one)]},
        )
        for row in rows
    ]  # fmt: skip
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=letter())


@scorer(metrics=[accuracy()])
def letter() -> Scorer:
    """Whether the letter that an answer chooses is the right one."""

    async def score(state: TaskState, target: Target) -> Score:
        chosen = letter_of(state.output.completion, state.metadata["options"])
        return Score(value=CORRECT if chosen == target.text else INCORRECT, answer=chosen)

    return score


def _shown(image: str, text: str) -> list[Any]:
    """One message of the user: an image in base64 and a text."""
    shown = ContentImage(image=f"data:image/png;base64,{image}")
    return [ChatMessageUser(content=[shown, ContentText(text=text)])]


def _cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))
