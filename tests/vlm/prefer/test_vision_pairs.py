"""`stage: prefer` of models made from parts: pairs about one image share it, folded as computed apart, and resumed."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from llm.data.corpus import build_corpus
from llm.encoding.encoder import Sample
from llm.files.saved_checkpoints import list_checkpoints
from llm.prefer.model import PreferModel
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from tests.vlm.runs import recipe
from vlm.config import VlmPreferConfig
from vlm.model.batch import VlmBatch, collate_vlm
from vlm.model.run_parts import OpenedVision
from vlm.model.runs import open_model, open_run, parts_of, train
from vlm.plan.memory_report import forecast_run


@pytest.fixture
def pairs(records: Path, tmp_path: Path) -> Path:
    """Two pairs about each of six images."""
    colours = ["red", "blue", "green", "gray"]
    rows = []
    for index in range(6):
        right, wrong = colours[index % 4], colours[(index + 1) % 4]
        image = str(records.parent / f"{index}.png")
        rows.append({"image": image, "question": "what color?", "chosen": f"it is {right}", "rejected": wrong})
        rows.append({"image": image, "question": f"is it {wrong}?", "chosen": "no", "rejected": "yes, of course"})
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def preferring(llm: Path, tower: Path, pairs: Path, out: Path, **changes: Any) -> VlmPreferConfig:
    base = recipe(llm, tower, pairs, out, "finetune", train={"epochs": 2, "batch": 4, "log_every": 1})
    values = base.model_dump(by_alias=True) | {"stage": "prefer", "prefer": {"beta": 0.5}}
    values["data"]["sources"] = [{"path": str(pairs), "images": "/"}]
    for section, keys in changes.items():
        values[section] = values[section] | keys
    return VlmPreferConfig.model_validate(values)


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run, "train")]


def test_a_run_begins_at_log_2_and_goes_on_bit_for_bit(tiny_llm: Path, clip: Path, pairs: Path, tmp_path: Path) -> None:
    changes = {"tune": {"kind": "lora", "rank": 4, "dropout": 0.1}, "train": {"save_every": 2, "keep": 2}}
    complete = train(preferring(tiny_llm, clip, pairs, tmp_path / "complete", **changes), tmp_path)
    assert losses(complete)[0] == pytest.approx(math.log(2), abs=1e-5) and len(losses(complete)) == 6
    stopped = preferring(tiny_llm, clip, pairs, tmp_path / "stopped", **changes)
    train(stopped, tmp_path)
    shutil.rmtree(list_checkpoints(tmp_path / "stopped")[-1])
    train(stopped, tmp_path)
    assert losses(complete) == losses(tmp_path / "stopped")
    one, other = (read_weights(list_checkpoints(run)[-1]) for run in (complete, tmp_path / "stopped"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert set(one) <= {name for name, _ in open_run(complete).model.state_dict().items()}


def test_pairs_of_one_image_share_it_and_are_computed_as_apart(
    tiny_llm: Path, clip: Path, pairs: Path, tmp_path: Path
) -> None:
    config = preferring(tiny_llm, clip, pairs, tmp_path / "run", tune={"kind": "full"})
    opened = cast(OpenedVision, open_model(config))
    parts: Any = parts_of(opened)
    model, vision = cast(PreferModel[VlmBatch], parts.model), opened.model.vision
    corpus = build_corpus(config.data.sources, config.data, opened.encoder, tmp_path / "c", tmp_path, form=parts.form)
    batch = replace(parts.collate(corpus, (0, 1)), reference=torch.tensor([-9.0, -8.0, -5.0, -7.0]))
    assert batch.pack.image_count == 1 and len(batch.pack.image_index) == 1, "one image for four answers"
    model(batch).backward()
    got = {name: tensor.grad for name, tensor in opened.model.named_parameters() if tensor.grad is not None}
    opened.model.zero_grad()
    apart = []
    for index in (0, 1):
        sample = corpus.sample(index)
        first, second = sample.branches
        for end in (slice(first, second), slice(second, None)):
            ids, labels = (np.concatenate([values[:first], values[end]]) for values in (sample.ids, sample.labels))
            alone = Sample(ids, labels, sample.images)
            pack = collate_vlm([alone], vision.preprocess, vision.image_id, vision.image_tokens)
            apart.append(-opened.model(pack))
    found = model.answer_log_probs(batch).detach()
    assert found.tolist() == pytest.approx([float(one.detach()) for one in apart], rel=1e-5)
    margins = [0.5 * ((apart[0] + 9) - (apart[1] + 8)), 0.5 * ((apart[2] + 5) - (apart[3] + 7))]
    sum((torch.log1p(torch.exp(-margin)) for margin in margins), torch.zeros(())).backward()
    wanted = {name: tensor.grad for name, tensor in opened.model.named_parameters() if tensor.grad is not None}
    assert got.keys() == wanted.keys()
    one, other = (torch.cat([grads[name].flatten().double() for name in got]) for grads in (got, wanted))
    assert float(one @ other / one.norm() / other.norm()) > 0.9999 and float(one.norm()) > 0
    assert float(one.norm()) == pytest.approx(float(other.norm()), rel=1e-4)


def test_a_step_about_images_is_forecast(tiny_llm: Path, clip: Path, pairs: Path, tmp_path: Path) -> None:
    found = forecast_run(preferring(tiny_llm, clip, pairs, tmp_path / "run"), [], "card", 0.5)
    assert found.total > 0 and "records" in found.pack
