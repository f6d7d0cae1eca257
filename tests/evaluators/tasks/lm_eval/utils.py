"""The prompts of lm-eval's tasks: with a chat template, lm-eval would put the subject into a system message."""

import csv
import sys
from functools import cache
from typing import Any

sys.path.append(".")

from prompts import examination_prompt, letter_of  # beside the benchmark files, where lm-eval runs


def addition(row: dict[str, Any]) -> str:
    """A question of this subject after five answered ones."""
    return _prompt("addition", row)


def alphabet(row: dict[str, Any]) -> str:
    """The same of the other subject."""
    return _prompt("alphabet", row)


def letter_score(row: dict[str, Any], answers: list[str]) -> dict[str, float]:
    """Whether the letter that an answer chooses is the right one."""
    return {"exact_match": float(letter_of(answers[0], [str(row[name]) for name in "ABCD"]) == row["answer"])}


def _prompt(subject: str, row: dict[str, Any]) -> str:
    return examination_prompt(subject, _shots(subject), [str(row[name]) for name in ("question", *"ABCD")])


@cache
def _shots(subject: str) -> list[list[str]]:
    with open(f"mmlu/dev/{subject}_dev.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))
