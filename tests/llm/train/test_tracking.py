"""Runs whose recipe names a tracker: what it has is what metrics.jsonl has, and training is as without one."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm.config.schema import TextRunConfig
from llm.distributed import Ranks
from llm.errors import ConfigError
from llm.train import run as run_module
from llm.train.engine import TorchEngine
from llm.train.loop import Interrupted
from llm.train.metrics import read_metrics
from tests.llm.text_runs import finished, six_steps
from tests.trackers.stored import read_tensorboard
from vlm.model.runs import train

STEPS = 6


def tracked(llm: Path, folder: Path, *names: str) -> TextRunConfig:
    """Six steps, validated and asked at every second, handed on to trackers."""
    folder.mkdir(exist_ok=True)
    values: dict[str, Any] = six_steps(llm, folder).model_dump(mode="json", by_alias=True)
    values["data"]["validation"] = 0.25
    values["train"] |= {"max_steps": STEPS, "epochs": 4, "validate_every": 2, "sample_every": 2}
    values["train"]["probes"] = [{"prompt": "What 1?", "max_new_tokens": 3, "expect": "fox"}]
    return TextRunConfig.model_validate({**values, "track": names})


def check_stored(run: Path) -> None:
    """TensorBoard's own reader finds each line of metrics.jsonl once, and the answers."""
    stored = read_tensorboard(run / "track")
    for kind, name in (("train", "loss"), ("train", "lr"), ("validation", "loss"), ("probe", "score")):
        lines = [(line["step"], float(np.float32(line[name]))) for line in read_metrics(run, kind)]
        assert len(lines) >= 3 and stored.curves[f"{kind}/{name}"] == lines
    assert sorted(stored.answers) == [0, 2, 4, 6] and all("What 1?" in text for (text,) in stored.answers.values())


def test_a_run_that_dies_and_resumes_is_one_curve_and_trains_as_without(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tracked(tiny_llama, tmp_path / "tracked", "tensorboard")
    step, taken = TorchEngine.step, []

    def dies_in_the_fourth(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        taken.append(factor)
        if len(taken) == 4:
            raise MemoryError("the machine died here")
        return step(self, factor, figures)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(TorchEngine, "step", dies_in_the_fourth)
        train(config, Path.cwd())
    losses, weights = finished(config)
    check_stored(Path(config.out))
    plain, expected = finished(tracked(tiny_llama, tmp_path / "plain"))
    assert losses == plain and all(torch.equal(weights[name], expected[name]) for name in expected)
    assert not (tmp_path / "plain" / "run" / "track").exists(), "nothing is tracked unless a recipe says so"


def test_a_tracker_may_be_named_while_the_run_goes_on_and_after_its_end(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TorchEngine.step

    def asks(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, factor, figures)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(TorchEngine, "step", asks)
        train(tracked(tiny_llama, tmp_path / "one"), Path.cwd())
    for earlier in (tmp_path / "one", tmp_path / "two"):
        if earlier.name == "two":
            train(tracked(tiny_llama, earlier), Path.cwd())
        check_stored(train(tracked(tiny_llama, earlier, "tensorboard"), Path.cwd()))


def test_a_tracker_that_is_not_there_is_refused_before_anything_is_written(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="track: swanlab cannot be imported. Run `pip install swanlab`"):
        train(tracked(tiny_llama, tmp_path, "swanlab"), Path.cwd())
    assert not (tmp_path / "run").exists()


def test_the_first_process_alone_hands_on(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tracked(tiny_llama, tmp_path, "tensorboard")
    monkeypatch.setattr(run_module.distributed, "ranks", lambda: Ranks(rank=1, world=2))
    run_module._feed(config, tmp_path)
    assert not (tmp_path / "track").exists()
    monkeypatch.setattr(run_module.distributed, "ranks", lambda: Ranks(rank=0, world=2))
    run_module._feed(config, tmp_path)
    assert (tmp_path / "track").exists()
