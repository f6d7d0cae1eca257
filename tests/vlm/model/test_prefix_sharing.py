"""`train.fold`: records of one step that share an image or a system prompt, against the same records one by one."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import llm.data.batch
from llm.attention.layout import Span
from llm.config.schema import RunConfig
from llm.encoding.encoder import Sample
from llm.train.run_data import read_run_data, training_loader
from tests.vlm.export.test_formats import text_recipe
from tests.vlm.runs import recipe
from vlm.model.runs import open_model, parts_of


@dataclass(frozen=True)
class Took:
    """One step before the optimizer: its loss, its gradient, the tokens that were computed, and its samples."""

    loss: float
    gradient: Tensor
    rows: int
    tokens: int
    samples: list[int]


def take_step(config: RunConfig, folder: Path) -> Took:
    torch.manual_seed(0)
    opened = open_model(config)
    parts = parts_of(opened)
    data = read_run_data(config, parts, folder, Path.cwd())
    parts.prepare(data.train)
    with torch.no_grad():  # fresh adapters give no gradient to half of their weights
        for group in opened.groups:
            for parameter in group.parameters:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    step = next(training_loader(parts, data).steps(0))
    loss = sum((parts.model(batch) for batch in step.batches), torch.zeros(())) / step.targets
    loss.backward()
    texts: list[Any] = [getattr(batch, "text", batch) for batch in step.batches]
    grads = [parameter.grad.float().flatten() for group in opened.groups for parameter in group.parameters]
    samples = sorted(index for text in texts for index in text.samples)
    return Took(float(loss), torch.cat(grads), sum(text.tokens for text in texts), step.tokens, samples)


@pytest.fixture(params=["pictures", "text"])
def config(request: pytest.FixtureRequest, tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> RunConfig:
    """Single questions, two an image; or text under one system prompt."""
    lora: dict[str, Any] = {"kind": "lora", "rank": 4, "alpha": 8}
    if request.param == "pictures":
        questions = records.with_name("questions.json")
        return recipe(tiny_llm, clip, questions, tmp_path / "run", "finetune", tune=lora, train={"order": "by_image"})
    rows = [[{"role": "user", "content": f"q{i}?"}, {"role": "assistant", "content": f"a{i}"}] for i in range(9)]
    (tmp_path / "rows.json").write_text(json.dumps([{"messages": messages} for messages in rows]))
    run = text_recipe(tiny_llm, tmp_path, lora)
    data = run.data.model_copy(update={"system": "You are a kind and short assistant."})
    return run.model_copy(update={"data": data})


def changed(config: RunConfig, **train: Any) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=train)})


@pytest.mark.parametrize(("dtype", "apart", "cosine"), [("fp32", 1e-5, 0.999999), ("bf16", 1e-3, 0.9999)])
@pytest.mark.parametrize("pack_tokens", [600, 150])
def test_a_folded_step_is_the_same_step(
    config: RunConfig, dtype: str, apart: float, cosine: float, pack_tokens: int, tmp_path: Path
) -> None:
    folded = take_step(changed(config, dtype=dtype, pack_tokens=pack_tokens), tmp_path)
    single = take_step(changed(config, dtype=dtype, pack_tokens=pack_tokens, fold="off"), tmp_path)
    assert (folded.samples, folded.tokens) == (single.samples, single.tokens)
    assert single.rows == single.tokens and folded.rows < 0.85 * single.rows, "nothing was shared"
    assert folded.loss == pytest.approx(single.loss, rel=apart)
    assert torch.cosine_similarity(folded.gradient, single.gradient, 0) > cosine


def test_branches_that_attend_to_each_other_are_detected(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With isolation broken on purpose: every branch attends to all tokens before it."""
    single = take_step(changed(config, fold="off"), tmp_path)
    monkeypatch.setattr(llm.data.batch, "spans_of", lambda sample, start: [Span(start, len(sample.ids))])
    leaky = take_step(config, tmp_path)
    assert abs(leaky.loss / single.loss - 1) > 1e-4
    assert torch.cosine_similarity(leaky.gradient, single.gradient, 0) < 0.9999


def test_positions_that_are_not_reset_are_detected(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = take_step(changed(config, fold="off"), tmp_path)
    positions = llm.data.batch.positions_of

    def runs_on(sample: Sample) -> Any:
        return positions(replace(sample, branches=(), parents=()))

    monkeypatch.setattr(llm.data.batch, "positions_of", runs_on)
    assert abs(take_step(config, tmp_path).loss / single.loss - 1) > 1e-5


def test_images_after_a_difference_or_an_answer_are_not_shared(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    """The same two images, the second asked about later or after other words: nothing may be shared there."""
    rows = [_asked(f"<image>\nword {n} <image>\nwhich?", n) for n in range(3)]
    rows += [_asked("<image>\nwhat?", n, "<image>\nand this?") for n in range(3)]
    rows += [_asked("<image>\n<image>\nboth", n) for n in range(3)]
    file = records.with_name("places.json")
    file.write_text(json.dumps(rows))
    config = recipe(tiny_llm, clip, file, tmp_path / "run", "finetune", train={"batch": 9})
    folded, single = (take_step(changed(config, fold=fold), tmp_path) for fold in ("auto", "off"))
    assert folded.loss == pytest.approx(single.loss, rel=1e-5)
    assert folded.rows < single.rows, "the last three share both"
    assert torch.cosine_similarity(folded.gradient, single.gradient, 0) > 0.999999


def _asked(question: str, number: int, then: str = "") -> dict[str, Any]:
    said = [("human", question), ("gpt", f"a{number}"), *([("human", then), ("gpt", "b")] if then else [])]
    values = [{"from": who, "value": text} for who, text in said]
    return {"id": f"{question}-{number}", "image": ["0.png", "1.png"], "conversations": values}
