"""A tiny vision model that has learned some of the questions, so that its answers differ from one to the next."""

import json
from pathlib import Path
from typing import Any

from tests.evaluators.files import MMBENCH, POPE
from tests.vlm.conftest import save_clip, save_llm
from tests.vlm.runs import recipe
from vlm.model.runs import train
from vlm.questions.prompts import prompt
from vlm.questions.question_files import read_questions


def train_tiny(folder: Path, data: Path, epochs: int) -> tuple[Path, Path]:
    """The run, trained on the files of `data`, and its language model, whose folder has the tokenizer."""
    folder.mkdir()
    llm, rows = save_llm(folder / "llm", 300, tied=False), folder / "rows.json"
    rows.write_text(json.dumps(_rows(folder, data)), encoding="utf-8")
    changes: dict[str, Any] = {
        "tune": {"kind": "full"},
        "data": {"sources": [{"path": str(rows)}], "template": "chatml", "max_length": 1600},
        "optim": {"lr": 1e-2},
        "train": {"epochs": epochs, "batch": 8, "pack_tokens": 3200, "save_every": 0, "log_every": 10},
    }
    train(recipe(llm, save_clip(folder / "clip"), rows, folder / "run", "finetune", **changes), Path())
    return folder / "run", llm


def _rows(folder: Path, data: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for asked in read_questions([data / "mmlu", data / POPE, data / MMBENCH]):
        for number, question in enumerate(asked.questions):
            text, row = prompt(question), {"id": f"{asked.form}-{number}"}
            if question.images:
                (image,) = question.images
                name = f"{asked.form}-{number}.png"
                (folder / name).write_bytes(image.data or Path(image.path).read_bytes())
                row["image"], text = name, f"<image>\n{text}"
            turns = [{"from": "human", "value": text}, {"from": "gpt", "value": question.answers[0]}]
            rows.append({**row, "conversations": turns})
    return rows
