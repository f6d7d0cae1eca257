"""TRL's side: `python -m benchmarks.trl_side SPEC.json RESULT.json`, its SFTTrainer on the same rows and weights."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from PIL import Image
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    TrainerCallback,
)
from trl import SFTConfig, SFTTrainer

from benchmarks.figures import peak_gib
from benchmarks.work import PICTURES

LINEARS = r"(?!.*vision_tower).*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class Ends(TrainerCallback):
    """When each optimizer step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called by the trainer."""
        self.times.append(time.time())


class Ordered(SFTTrainer):
    """Rows in the file's order, as everyone gets them."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def main() -> None:
    """Train, and write when each step ended."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    work, sees = spec["work"], spec["work"]["stage"] != "sft"
    auto: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model = auto.from_pretrained(spec["folder"], dtype=torch.bfloat16)
    reader: Any = AutoProcessor if sees else AutoTokenizer
    rows = json.loads(Path(spec["data"]).read_text(encoding="utf-8"))
    ends = Ends()
    config = SFTConfig(
        output_dir=spec["out"],
        per_device_train_batch_size=spec["micro_batch"],
        gradient_accumulation_steps=work["batch"] // spec["micro_batch"],
        max_steps=work["warmup"] + work["steps"],
        max_length=work["max_length"],
        learning_rate=1e-4,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        bf16=True,
        completion_only_loss=len(rows[0].get("conversations", ())) <= 2,
        **spec["options"],
    )
    lora = None
    if work["stage"] == "pretrain":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("multi_modal_projector" in name)
    else:
        keeps = ["multi_modal_projector"] if sees else None
        lora = LoraConfig(r=16, lora_alpha=32, target_modules=LINEARS, modules_to_save=keeps, task_type="CAUSAL_LM")
    trainer = Ordered(
        model=model,
        args=config,
        train_dataset=Dataset.from_list([_row(row) for row in rows]),
        processing_class=reader.from_pretrained(spec["folder"]),
        peft_config=lora,
        callbacks=[ends],
    )
    trainer.train()
    Path(sys.argv[2]).write_text(json.dumps({"ends": ends.times, "peak_gib": peak_gib()}))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """One question as prompt and completion, so that it carries no loss; several turns as messages."""
    if "messages" in row:
        return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
    turns = [
        {
            "role": "assistant" if turn["from"] == "gpt" else "user",
            "content": turn["value"].replace("<image>", "").strip(),
        }
        for turn in row["conversations"]
    ]
    said = {"messages": turns} if len(turns) > 2 else {"prompt": turns[:-1], "completion": turns[-1:]}
    return said | {"images": [Image.open(PICTURES / row["image"]).convert("RGB")]}


if __name__ == "__main__":
    main()
