"""All optimisations against none: packed, prefixes shared, features cached; or record by record in plain SDPA."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llm.attention.interface import plain_attention
from llm.data.corpus import Corpus
from llm.data.loader import OptimizerStep
from llm.train.engine import TorchEngine
from llm.train.optimizer import build_optimizer
from llm.train.run_data import read_run_data, training_loader
from llm.train.run_parts import RunParts
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig
from vlm.model.batch import VlmBatch, collate_vlm
from vlm.model.forward import VlmModel
from vlm.model.runs import open_model, parts_of

STEPS = 9  # three epochs: in the last, every image is known
LossOf = Callable[[VlmModel, Corpus, OptimizerStep[VlmBatch]], Tensor]


def fast(model: VlmModel, _: Corpus, step: OptimizerStep[VlmBatch]) -> Tensor:
    return sum((model(batch) for batch in step.batches), torch.zeros(()))


def slow(model: VlmModel, corpus: Corpus, step: OptimizerStep[VlmBatch]) -> Tensor:
    """Every record alone, through transformers' own attention, without caching its image."""
    vision, store = model.vision, model.feature_cache
    model.feature_cache = None
    total = torch.zeros(())
    with plain_attention(vision.language_model):
        for batch in step.batches:
            for index in batch.text.samples:
                sample = corpus.sample(index)
                assert not sample.branches
                alone = collate_vlm([sample], vision.preprocess, vision.image_id, vision.image_tokens, (index,))
                total = total + model(alone)
    model.feature_cache = store
    return total


def train(config: VlmRunConfig, folder: Path, loss_of: LossOf) -> tuple[list[float], Tensor, int, int]:
    """Losses of the first steps, the first step's gradient, the tokens that packs saved, the images cached."""
    torch.manual_seed(0)
    opened = open_model(config)
    parts: RunParts[Any] = parts_of(opened)
    data = read_run_data(config, parts, folder, Path.cwd())
    parts.prepare(data.train)
    parts.ready(data.train, folder)
    assert isinstance(opened.model, VlmModel)
    engine = TorchEngine(opened.model, build_optimizer(parts.groups, config.optim), config.optim.clip)
    losses: list[float] = []
    gradient, saved, known = torch.empty(0), 0, 0
    for step in training_loader(parts, data).steps(0):
        loss = loss_of(opened.model, data.train, step) / step.targets
        engine.backward(loss)
        if not losses:
            masters = [master.grad for _, master in engine.optimizer.pairs if master.grad is not None]
            gradient = torch.cat([grad.float().flatten() for grad in masters])
        engine.step(1.0)
        losses.append(float(loss.detach()))
        saved += step.tokens - sum(batch.text.tokens for batch in step.batches)
        known += sum(len(batch.cached_features) for batch in step.batches)
        if len(losses) == STEPS:
            break
    return losses, gradient, saved, known


@pytest.mark.parametrize(("dtype", "apart"), [("fp32", 1e-5), ("bf16", 1e-3)])
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_losses_step_by_step_are_those_of_plain_transformers(
    stage: str, dtype: str, apart: float, tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    tune = {"kind": "lora", "rank": 4, "alpha": 8} if stage == "finetune" else {"kind": "frozen"}
    train_keys = {"dtype": dtype, "order": "by_image", "epochs": 4}
    questions = records.with_name("questions.json")
    config = recipe(tiny_llm, clip, questions, tmp_path / "run", stage, tune=tune, optim={"lr": 1e-3}, train=train_keys)
    losses, gradient, saved, known = train(config, tmp_path, fast)
    expected, reference, *_ = train(config, tmp_path, slow)
    assert len(losses) == STEPS and saved > 0 and known > 0, "nothing shared or kept: the test would compare little"
    assert losses == pytest.approx(expected, rel=apart)
    assert losses[0] != losses[-1], "nothing moved"
    assert torch.cosine_similarity(gradient, reference, 0) >= 0.9999
