"""A tiny preference data set."""

import json
from pathlib import Path

import pytest

WORDS = ["red", "blue", "round", "square", "big", "small", "near", "far"]


def write_pairs(file: Path, count: int) -> Path:
    """Pairs of which two share each prompt; answers differ in length."""
    rows = [
        {
            "prompt": f"Which word is number {n // 2} of the list?",
            "chosen": f"It is {WORDS[n % 8]}.",
            "rejected": " ".join(["No", *WORDS[: 1 + n % 5]]),
            "strength": n / 4,
        }
        for n in range(count)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def write_labelled(file: Path, count: int) -> Path:
    """Answers of which every third is labelled as bad."""
    rows = [
        {"prompt": f"Word {n}?", "completion": " ".join(WORDS[: 1 + n % 4]), "label": n % 3 != 0} for n in range(count)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A file of 12 pairs."""
    return write_pairs(tmp_path / "pairs.jsonl", 12)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A file of 12 labelled answers."""
    return write_labelled(tmp_path / "labelled.jsonl", 12)
