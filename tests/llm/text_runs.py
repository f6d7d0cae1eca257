"""Small text runs, and what is done to their folders."""

import json
import shutil
from pathlib import Path

import torch

from llm.config.schema import TextRunConfig
from llm.files.saved_checkpoints import list_checkpoints
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from vlm.model.runs import train


def six_steps(llm: Path, folder: Path) -> TextRunConfig:
    """Six steps over twelve conversations, saved at every second step."""
    write_rows(folder / "chat.jsonl", 12)
    return TextRunConfig.model_validate(
        {
            "name": "tiny",
            "out": str(folder / "run"),
            "model": {"llm": str(llm)},
            "data": {"sources": [{"path": str(folder / "chat.jsonl")}], "max_length": 200, "template": "chatml"},
            "tune": {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1},
            "train": {"epochs": 2, "batch": 4, "dtype": "fp32", "save_every": 2, "log_every": 1, "keep": 2},
        }
    )


def write_rows(file: Path, count: int) -> None:
    rows = [
        [{"role": "user", "content": f"What {n}?"}, {"role": "assistant", "content": f"fox {n}"}] for n in range(count)
    ]
    file.write_text("\n".join(json.dumps({"messages": messages}) for messages in rows))


def finished(config: TextRunConfig) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and final weights of a run that is trained to its end."""
    run = train(config, Path.cwd())
    weights = read_weights(list_checkpoints(run)[-1])  # mapped from the file, which a test may damage
    return [row["loss"] for row in read_metrics(run, "train")], {name: value.clone() for name, value in weights.items()}


def unfinished(config: TextRunConfig) -> Path:
    """The run as it stood after step 4."""
    run = train(config, Path.cwd())
    shutil.rmtree(list_checkpoints(run)[-1])
    return run


def flip(file: Path, at: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
