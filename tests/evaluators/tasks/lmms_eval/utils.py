"""What the two tasks of lmms-eval do with a row."""

import base64
import csv
import io
import sys
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.append(".")

from prompts import letters_prompt, yes_no_prompt  # beside the benchmark files, where lmms-eval runs

Row = dict[str, Any]
csv.field_size_limit(2**24)


def pope_image(row: Row) -> list[Image.Image]:
    """The image of a line of POPE."""
    return [Image.open(row["image"]).convert("RGB")]


def pope_text(row: Row) -> str:
    """Its question."""
    return yes_no_prompt(row)


def pope_score(row: Row, answers: list[str]) -> dict[str, float]:
    """Whether the answer is the label, as lmms-eval's own POPE compares them."""
    return {"accuracy": float(answers[0].lower().strip() == row["label"])}


def mmbench_image(row: Row) -> list[Image.Image]:
    """The image of a row of MMBench, or of the row that it names."""
    cell = _images().get(str(row["image"]), row["image"])
    return [Image.open(io.BytesIO(base64.b64decode(cell))).convert("RGB")]


def mmbench_text(row: Row) -> str:
    """Its question."""
    return letters_prompt({name: str(value or "") for name, value in row.items()})


def mmbench_score(row: Row, answers: list[str]) -> dict[str, float]:
    """Whether the answer begins with the letter."""
    return {"accuracy": float(answers[0].strip()[:1] == row["answer"])}


@cache
def _images() -> dict[str, str]:
    with Path("mmbench.tsv").open(encoding="utf-8", newline="") as table:
        return {row["index"]: row["image"] for row in csv.DictReader(table, delimiter="\t")}
