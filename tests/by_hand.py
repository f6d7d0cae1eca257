"""A reference for training steps, independent of llm/ and vlm/: cross-entropy, its mean, clipping and AdamW.

Models are transformers' own and are called with one record at a time, without packing, padding or a cache.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

LR, BETAS, EPS, DECAY, CLIP = 3e-3, (0.8, 0.95), 1e-6, 0.1, 0.5
# Four steps, half of them warm-up, then a cosine: 1/2, 1, (1 + cos 0) / 2, (1 + cos(pi / 2)) / 2.
FACTORS = (0.5, 1.0, 1.0, 0.5)
OPTIM = {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY, "clip": CLIP, "warmup": 0.5}

Turns = tuple[tuple[str, str], ...]  # questions and answers
Step = tuple[float, float, dict[str, Tensor]]  # loss, gradient norm, weights afterwards


@dataclass(frozen=True)
class Record:
    """Token ids of one record, and which of them the model is trained to write."""

    ids: list[int]
    written: list[bool]


def chatml(
    tokenizer: PreTrainedTokenizerBase, turns: Turns, system: str = "", image: tuple[int, int] = (0, 0)
) -> Record:
    """A conversation in ChatML, tokenized piece by piece; `image` is the image token and how often it is repeated."""
    row = Record([], [])
    if system:
        _write(row, tokenizer, f"<|im_start|>system\n{system}<|im_end|>\n", False)
    for number, (question, answer) in enumerate(turns):
        _write(row, tokenizer, "<|im_start|>user\n", False)
        if number == 0 and image[1]:
            row.ids.extend([image[0]] * image[1])
            row.written.extend([False] * image[1])
            _write(row, tokenizer, "\n", False)
        _write(row, tokenizer, f"{question}<|im_end|>\n<|im_start|>assistant\n", False)
        _write(row, tokenizer, f"{answer}<|im_end|>", True)
        _write(row, tokenizer, "\n", False)
    return row


def _write(row: Record, tokenizer: PreTrainedTokenizerBase, text: str, written: bool) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    row.ids.extend(ids)
    row.written.extend([written] * len(ids))


def mean_loss(logits_of: Callable[[Record], Tensor], records: Iterable[Record]) -> Tensor:
    """Minus the mean log-probability of all written ids, over all records together."""
    losses: list[Tensor] = []
    for record in records:
        log_probs = logits_of(record).double().log_softmax(-1)
        losses += [-log_probs[at - 1, record.ids[at]] for at in range(1, len(record.ids)) if record.written[at]]
    return torch.stack(losses).sum() / len(losses)


@dataclass
class Adam:
    """AdamW (arXiv 1711.05101, algorithm 2) in fp64; only matrices have weight decay."""

    weights: dict[str, Tensor]
    steps: int = 0
    first: dict[str, Tensor] = field(default_factory=dict)
    second: dict[str, Tensor] = field(default_factory=dict)

    def move(self, factor: float) -> float:
        """One step with the current gradients, clipped by their norm, which is returned."""
        grads = {name: weight.grad.double() for name, weight in self.weights.items() if weight.grad is not None}
        norm = math.sqrt(sum((grad * grad).sum().item() for grad in grads.values()))
        scale = min(1.0, CLIP / norm)
        self.steps += 1
        with torch.no_grad():
            for name, grad in grads.items():
                self._move(name, grad * scale, LR * factor)
        for weight in self.weights.values():
            weight.grad = None
        return norm

    def _move(self, name: str, grad: Tensor, lr: float) -> None:
        weight = self.weights[name]
        zero = torch.zeros_like(grad)
        self.first[name] = BETAS[0] * self.first.get(name, zero) + (1 - BETAS[0]) * grad
        self.second[name] = BETAS[1] * self.second.get(name, zero) + (1 - BETAS[1]) * grad**2
        mean = self.first[name] / (1 - BETAS[0] ** self.steps)
        square = self.second[name] / (1 - BETAS[1] ** self.steps)
        decay = DECAY if weight.dim() > 1 else 0.0
        moved = weight.double() * (1 - lr * decay) - lr * mean / (square.sqrt() + EPS)
        weight.copy_(moved)


def assert_equal_steps(run: Path, steps: list[Step]) -> None:
    """Compare every step that a run logged and saved with the reference: loss, norm, learning rate and weights.

    A weight's name in the checkpoint ends with the reference's name.
    """
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if line["kind"] == "train"]
    assert len(logged) == len(steps)
    for number, (row, (loss, norm, weights)) in enumerate(zip(logged, steps, strict=True), 1):
        assert row["loss"] == pytest.approx(loss, rel=1e-5), f"step {number}"
        assert row["grad_norm"] == pytest.approx(norm, rel=1e-4), f"step {number}"
        assert row["lr"] == pytest.approx(LR * FACTORS[number - 1]), f"step {number}"
        saved = load_file(run / "checkpoints" / f"step-{number:06d}" / "trainable.safetensors")
        assert len(saved) == len(weights)
        for name, weight in weights.items():
            ending = "." + name.removeprefix("model.")
            (found,) = (tensor for other, tensor in saved.items() if other.endswith(ending))
            torch.testing.assert_close(found, weight, rtol=0, atol=1e-5, msg=name)
