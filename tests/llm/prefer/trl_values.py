"""The losses that TRL computes for the rows of rows.py, printed for test_trl.py. Run by hand, in its own environment:

python -m venv /tmp/trl && /tmp/trl/bin/pip install trl==1.16.0 peft pytest hypothesis
PYTHONPATH=. /tmp/trl/bin/python -m tests.llm.prefer.trl_values
"""

import tempfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.llm.prefer.rows import ANSWERS, BETA, LABELS, MISMATCHED, SMOOTHING, Row, models
from tests.llm.tokenizers import bpe_tokenizer


def padded(rows: list[Row], key: str = "") -> dict[str, Tensor]:
    """TRL's batch of prompts with completions, padded on the right."""
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids, seen, completion = (torch.zeros(len(rows), width, dtype=torch.int64) for _ in range(3))
    for index, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[index, :end] = torch.tensor([*prompt, *answer])
        seen[index, :end] = 1
        completion[index, len(prompt) : end] = 1
    return {f"{key}input_ids": ids, f"{key}attention_mask": seen, f"{key}completion_mask": completion}


def trainer_of(kind: Any, config: Any, dataset: Any) -> Any:
    policy, reference = models()
    return kind(policy, reference, config, train_dataset=dataset, processing_class=bpe_tokenizer())


def pair_losses(out: str) -> Iterator[tuple[str, float]]:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2)
    chosen, rejected = [row for row, _ in ANSWERS], [row for _, row in ANSWERS]
    kinds = {"dpo": "sigmoid", "hinge": "hinge", "ipo": "ipo", "robust": "robust", "bco": "bco_pair"}
    for name, kind in kinds.items():
        smoothing = SMOOTHING if name == "robust" else 0.0
        config = DPOConfig(out, beta=BETA, loss_type=[kind], label_smoothing=smoothing, use_cpu=True, bf16=False)
        trainer = trainer_of(DPOTrainer, config, rows)
        trainer.model.eval()
        yield name, float(trainer._compute_loss(trainer.model, padded([*chosen, *rejected]), False))
    mixed = {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]}
    trainer = trainer_of(DPOTrainer, DPOConfig(out, beta=BETA, use_cpu=True, bf16=False, **mixed), rows)
    trainer.model.eval()
    for number, (one, other) in enumerate(ANSWERS):  # TRL's SFT term is a mean over the tokens of a batch
        yield f"mpo of pair {number}", float(trainer._compute_loss(trainer.model, padded([one, other]), False))


def kto_loss(out: str) -> float:
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    rows = Dataset.from_list([{"prompt": "a", "completion": "b", "label": flag} for flag in (True, False)] * 2)
    config = KTOConfig(out, beta=BETA, use_cpu=True, bf16=False, per_device_train_batch_size=2)
    trainer = trainer_of(KTOTrainer, config, rows)
    trainer.model.eval()
    batch = padded([row for row, _ in ANSWERS]) | padded(MISMATCHED, "KL_") | {"label": torch.tensor(LABELS)}
    return float(trainer._compute_loss(trainer.model, batch, False))


def means(model: LlamaForCausalLM, rows: list[Row]) -> Tensor:
    """[n]: TRL's mean log-probabilities of completions."""
    from trl.experimental.orpo import ORPOTrainer

    batch = padded(rows)
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return ORPOTrainer.get_batch_logps(logits, labels, average_log_prob=True)


@torch.no_grad()
def unreferenced_losses() -> Iterator[tuple[str, float]]:
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    sides = [means(models()[0], [pair[side] for pair in ANSWERS]) for side in (0, 1)]
    accelerator = SimpleNamespace(device="cpu")
    orpo = SimpleNamespace(beta=BETA, accelerator=accelerator)
    yield "odds ratio of orpo", -float(ORPOTrainer.odds_ratio_loss(orpo, *sides)[0].mean())
    simpo = SimpleNamespace(
        beta=2.0, simpo_gamma=0.5, label_smoothing=0.0, loss_type="simpo", alpha=0.0, accelerator=accelerator
    )
    yield "simpo", float(CPOTrainer.cpo_loss(simpo, *sides)[0].mean())


def main() -> None:
    with tempfile.TemporaryDirectory() as out:
        values = dict(pair_losses(out)) | {"kto": kto_loss(out)} | dict(unreferenced_losses())
    for name, value in values.items():
        print(f"    {name!r}: {value:.8f},")


if __name__ == "__main__":
    main()
