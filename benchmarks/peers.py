"""The peers as contenders: `python -m benchmarks.peers SPEC READS WRITES`, TRL's SFTTrainer or transformers' Trainer.

Both train the same weights on the same records in the file's order; `spec["trainer"]` names the trainer.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from benchmarks.entries import LINEARS
from benchmarks.gate import Gate
from benchmarks.work import IMAGES
from llm.model import hf_loaders

IGNORED = -100
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def main() -> None:
    """Train until the parent ends the process."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    turns = Turns(Gate(int(sys.argv[2]), int(sys.argv[3])), arguments(spec)["gradient_accumulation_steps"])
    build = with_trl if spec["trainer"] == "trl" else with_transformers
    build(spec, turns).train()


class Turns(TrainerCallback):
    """Counts the contents of micro-batches and ends a turn after those of one step.

    The first turn ends when all is loaded, the second after one micro-batch as a warm-up. Later turns are therefore
    shifted by one micro-batch against the optimizer's steps: each still has a step's samples and one optimizer step.
    """

    def __init__(self, gate: Gate, micro_batches: int) -> None:
        self.gate, self.micro_batches, self.left = gate, micro_batches, 1
        self.facts = dict.fromkeys(("samples", "tokens", "rows"), 0)

    def count(self, inputs: dict[str, Any]) -> None:
        """Count one micro-batch: tokens without padding; samples of a packed row by the number of positions 0."""
        ids: Tensor = inputs["input_ids"]
        positions, mask = inputs.get("position_ids"), inputs.get("attention_mask")
        self.facts["samples"] += len(ids) if positions is None else int((positions == 0).sum())
        self.facts["tokens"] += ids.numel() if mask is None else int(mask.sum())
        self.facts["rows"] += ids.numel()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Called by the trainer before the first batch."""
        self.gate.turn()

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        """Called by the trainer after a micro-batch that does not end a step."""
        self.left -= 1
        if not self.left:
            facts, self.left = self.facts, self.micro_batches
            self.facts = dict.fromkeys(facts, 0)
            self.gate.turn(**facts)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called by the trainer after a micro-batch that ends a step."""
        self.on_substep_end()


class Ordered(Trainer):
    """A trainer that reads records in the file's order and counts each micro-batch."""

    turns: Turns

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        rows: Any = self.train_dataset
        return SequentialSampler(rows)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any) -> Tensor:
        """Count and train one micro-batch."""
        self.turns.count(inputs)
        loss: Tensor = super().training_step(model, inputs, *args)
        return loss


class OrderedTrl(Ordered, SFTTrainer):
    """TRL's trainer with the same order and counts."""


def arguments(spec: dict[str, Any]) -> dict[str, Any]:
    """Arguments that both trainers share. With packed text a step is one micro-batch of rows of max_length tokens."""
    work, packs = spec["work"], spec["options"].get("packing", False)
    micro = max(1, work["batch"] // 4) if packs else spec["micro_batch"]
    settings: dict[str, Any] = {
        "output_dir": spec["out"],
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": 1 if packs else max(1, work["batch"] // micro),
        "max_steps": work["steps"],
        "learning_rate": 1e-4,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": spec["dtype"] == "bf16",
    }
    settings |= spec["options"]
    return settings


def with_trl(spec: dict[str, Any], turns: Turns) -> Trainer:
    """TRL's trainer, set up as in its documentation."""
    model, reader, rows, lora = load(spec)
    one_question = len(rows[0].get("conversations", ())) <= 2
    settings = arguments(spec) | {"max_length": spec["work"]["max_length"], "completion_only_loss": one_question}
    trainer = OrderedTrl(
        model=model,
        args=SFTConfig(**settings),
        train_dataset=Dataset.from_list([prompt_and_completion(row) for row in rows]),
        processing_class=reader,
        peft_config=lora,
        callbacks=[turns],
    )
    trainer.turns = turns
    return trainer


def with_transformers(spec: dict[str, Any], turns: Turns) -> Trainer:
    """transformers' Trainer with a padding collator, as in LLaVA's scripts."""
    model, reader, rows, lora = load(spec)
    if lora is not None:
        model = get_peft_model(model, lora)
    trainer = Ordered(
        model=model,
        args=TrainingArguments(remove_unused_columns=False, **arguments(spec)),
        train_dataset=rows,
        data_collator=padding(reader),
        callbacks=[turns],
    )
    trainer.turns = turns
    return trainer


def load(spec: dict[str, Any]) -> tuple[Any, Any, list[dict[str, Any]], LoraConfig | None]:
    """Model, processor or tokenizer, records, and the LoRA configuration, None where the projector alone trains."""
    has_images = spec["work"]["stage"] != "sft"
    auto: Any = AutoModelForImageTextToText if has_images else AutoModelForCausalLM
    folder = Path(spec["folder"])
    model = hf_loaders.load_model(auto, folder, dtype=DTYPES[spec["dtype"]])
    reader: Any = hf_loaders.load_processor(folder) if has_images else hf_loaders.load_tokenizer(folder)
    rows = json.loads(Path(spec["data"]).read_text(encoding="utf-8"))
    lora = None
    if spec["work"]["stage"] == "pretrain":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("multi_modal_projector" in name)
    else:
        saved = ["multi_modal_projector"] if has_images and "vlm" not in spec else None
        lora = LoraConfig(r=16, lora_alpha=32, target_modules=LINEARS, modules_to_save=saved, task_type="CAUSAL_LM")
    return model, reader, rows, lora


def prompt_and_completion(row: dict[str, Any]) -> dict[str, Any]:
    """One question as prompt and completion, so that the prompt has no loss; several turns as messages."""
    turns = messages_of(row)
    if "messages" in row or len(turns) <= 2:
        example = {"prompt": turns[:-1], "completion": turns[-1:]}
    else:
        example = {"messages": turns}
    return example if "messages" in row else example | {"images": [load_image(row)]}


def messages_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Roles and texts of a record, without image placeholders."""
    if "messages" in row:
        return list(row["messages"])
    return [
        {
            "role": "assistant" if turn["from"] == "gpt" else "user",
            "content": turn["value"].replace("<image>", "").strip(),
        }
        for turn in row["conversations"]
    ]


def load_image(row: dict[str, Any]) -> Image.Image:
    """The decoded image of a record."""
    return Image.open(IMAGES / row["image"]).convert("RGB")


def padding(reader: Any) -> Callable[[list[dict[str, Any]]], dict[str, Tensor]]:
    """A collator that pads to the longest record of the micro-batch.

    Labels: the last answer of records with one question, all tokens of others.
    """
    tokenizer = getattr(reader, "tokenizer", reader)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        conversations = [messages_of(row) for row in rows]
        options: dict[str, Any] = {"padding": True, "return_tensors": "pt"}
        if "messages" in rows[0]:
            batch = tokenizer(
                [tokenizer.apply_chat_template(conversation, tokenize=False) for conversation in conversations],
                **options,
            )
        else:
            for conversation in conversations:
                first = conversation[0]["content"]
                conversation[0] = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": first}]}
            texts = [reader.apply_chat_template(conversation, tokenize=False) for conversation in conversations]
            batch = reader(text=texts, images=[[load_image(row)] for row in rows], **options)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        if len(conversations[0]) <= 2:
            for row, conversation in zip(labels, conversations, strict=True):
                answer = len(tokenizer(conversation[-1]["content"], add_special_tokens=False)["input_ids"]) + 2
                labelled = (row != IGNORED).nonzero()[:, 0]
                row[labelled[:-answer]] = IGNORED
        image_id = getattr(reader, "image_token_id", None)
        if image_id is not None:
            labels = labels.masked_fill(batch["input_ids"] == image_id, IGNORED)
        return {**batch, "labels": labels}

    return collate


if __name__ == "__main__":
    main()
