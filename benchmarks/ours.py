"""Eyegraft's side: `python -m benchmarks.ours SPEC.json RESULT.json`, one training run as a user starts it."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import peak_gib
from llm.config import RunConfig
from llm.metrics import read_rows
from vlm.config import SCHEMAS
from vlm.run import train


def main() -> None:
    """Train, and write when each step ended."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    config = SCHEMAS[spec["work"]["stage"]].model_validate(recipe(spec))
    assert isinstance(config, RunConfig), "every work trains"
    run = train(config, Path())
    plan, rows = read_rows(run, "plan")[0], read_rows(run, "train")
    ends = [row["time"] for row in rows]
    Path(sys.argv[2]).write_text(json.dumps({"ends": ends, "peak_gib": peak_gib(), "tokens": plan["tokens"]}))


def recipe(spec: dict[str, Any]) -> dict[str, Any]:
    """The work as a recipe."""
    work = spec["work"]
    model: dict[str, Any] = {"llm": spec["llm"]}
    tune: dict[str, Any] = {"kind": "lora", "rank": 16, "alpha": 32}
    if work["stage"] != "sft":
        model |= {"tower": spec["tower"], "image_mode": "resize", "image_size": spec["image_size"]}
    if work["stage"] == "pretrain":
        tune = {"kind": "frozen"}
    train: dict[str, Any] = {"batch": work["batch"], "pack_tokens": spec["pack_tokens"], "order": "by_image"}
    train |= {"dtype": "bf16", "log_every": 1, "save_every": 0, **spec["train"]}
    return {
        "name": work["name"],
        "out": spec["out"],
        "stage": work["stage"],
        "model": model,
        "data": {
            "sources": [{"path": spec["data"], "images": spec["images"]}],
            "template": "chatml",
            "max_length": work["max_length"],
            **spec["options"],
        },
        "tune": tune,
        "optim": {"lr": 1e-4},
        "train": train,
    }


if __name__ == "__main__":
    main()
