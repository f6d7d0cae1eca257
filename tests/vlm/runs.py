"""Small vision runs."""

from pathlib import Path
from typing import Any

from vlm.config import VlmRunConfig


def recipe(llm: Path, tower: Path, records: Path, out: Path, stage: str, **changes: Any) -> VlmRunConfig:
    """A small vision run."""
    sections: dict[str, Any] = {
        "name": "tiny",
        "out": str(out),
        "stage": stage,
        "model": {"llm": str(llm), "tower": str(tower), "image_mode": "resize"},
        "data": {"sources": [{"path": str(records)}], "template": "chatml", "max_length": 200},
        "optim": {"lr": 1e-2},
        "train": {"epochs": 2, "batch": 6, "pack_tokens": 600, "dtype": "fp32", "log_every": 1, "save_every": 0},
    }
    for key, value in changes.items():
        sections[key] = sections[key] | value if isinstance(sections.get(key), dict) else value
    return VlmRunConfig.model_validate(sections)
