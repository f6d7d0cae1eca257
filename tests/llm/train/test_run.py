"""Whole text runs on a tiny model: they learn, resume bit for bit, and do not depend on how a step is cut."""

import json
import math
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from llm.config.schema import TextRunConfig
from llm.config.yaml_loader import resolve_yaml
from llm.errors import ConfigError, RunError, TrainingError
from llm.files.saved_checkpoints import list_checkpoints
from llm.train.checkpoint_state import read_weights
from llm.train.engine import TorchEngine
from llm.train.loop import Interrupted
from llm.train.metrics import read_metrics
from tests.by_hand import Record, chatml, mean_loss
from tests.planted import planted
from vlm.model.runs import train

QUESTIONS = ["Who are you?", "What is it?", "Where is the dog?", "The cat runs?", "And the picture?", "Is it so?"]

ROLES = ("user", "assistant")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 short conversations of different lengths, in the OpenAI form."""
    file = tmp_path_factory.mktemp("data") / "chat.jsonl"
    rows = []
    for index in range(24):
        asked = QUESTIONS[index % len(QUESTIONS)] * (1 + index % 3)
        answer = f"the {'quick ' * (index % 4)}fox {index}"
        rows.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def recipe(llm: Path, records: Path, out: Path, **changes: Any) -> TextRunConfig:
    """A small run; `changes` are merged into its sections."""
    sections: dict[str, Any] = {
        "name": "tiny",
        "out": str(out),
        "model": {"llm": str(llm)},
        "data": {"sources": [{"path": str(records)}], "max_length": 200, "template": "chatml"},
        "tune": {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1},
        "optim": {"lr": 1e-2},
        "train": {"max_steps": 8, "epochs": 4, "batch": 6, "pack_tokens": 600, "dtype": "fp32"},
    }
    sections["train"] |= {"save_every": 4, "log_every": 1, "keep": 4}
    for key, value in changes.items():
        sections[key] = sections[key] | value if isinstance(sections.get(key), dict) else value
    return TextRunConfig.model_validate(sections)


def losses(folder: Path) -> list[float]:
    """Every step's loss."""
    return [row["loss"] for row in read_metrics(folder, "train")]


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint holds."""
    return read_weights(list_checkpoints(folder)[-1])


@pytest.fixture(scope="module")
def uninterrupted(tiny_llama: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    return train(recipe(tiny_llama, data, tmp_path_factory.mktemp("runs") / "uninterrupted"), Path.cwd())


def test_it_learns_and_reports(uninterrupted: Path) -> None:
    seen = losses(uninterrupted)
    assert len(seen) == 8
    assert seen[-1] < 0.95 * seen[0], "nothing was learnt"
    report = json.loads((uninterrupted / "report.json").read_text())
    assert report["records"] == 24 and report["progress"]["finished"]
    assert (uninterrupted / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "tiny" in (uninterrupted / "config.yaml").read_text()


def test_resume_equals_uninterrupted_bit_for_bit(
    tiny_llama: Path, data: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(tiny_llama, data, tmp_path / "cut")
    step, taken = TorchEngine.step, []

    def dies_in_the_seventh(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        taken.append(factor)
        if len(taken) == 7:
            raise MemoryError("the machine died here")
        return step(self, factor, figures)

    monkeypatch.setattr(TorchEngine, "step", dies_in_the_seventh)
    with pytest.raises(MemoryError):
        train(config, Path.cwd())
    assert len(losses(tmp_path / "cut")) == 6, "lines after the checkpoint exist and must be cut off"
    monkeypatch.setattr(TorchEngine, "step", step)
    train(config, Path.cwd())
    assert losses(tmp_path / "cut") == losses(uninterrupted)
    expected = final_weights(uninterrupted)
    assert expected and all(
        torch.equal(tensor, expected[name]) for name, tensor in final_weights(tmp_path / "cut").items()
    )


def test_lines_of_several_steps_are_the_same_after_a_signal(
    tiny_llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight steps, three a line; a stop after step 4 cuts the second line."""
    alone, cut = (
        recipe(tiny_llama, data, tmp_path / name, train={"log_every": 3, "save_every": 0}) for name in ("alone", "cut")
    )
    train(alone, Path.cwd())
    step, taken = TorchEngine.step, []

    def stopped_in_the_fourth(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        taken.append(factor)
        if len(taken) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, factor, figures)

    monkeypatch.setattr(TorchEngine, "step", stopped_in_the_fourth)
    with pytest.raises(Interrupted):
        train(cut, Path.cwd())
    train(cut, Path.cwd())
    rows, expected = ([(row["step"], row["loss"], row["grad_norm"]) for row in read_metrics(tmp_path / name, "train")]
                      for name in ("cut", "alone"))  # fmt: skip
    assert rows == expected and [row[0] for row in rows][:2] == [3, 6]


def test_a_signal_finishes_the_step_and_saves(
    tiny_llama: Path, data: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(tiny_llama, data, tmp_path / "asked")
    step = TorchEngine.step

    def asks(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        if factor != 1.0:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, factor, figures)

    monkeypatch.setattr(TorchEngine, "step", asks)
    with pytest.raises(Interrupted) as stop:
        train(config, Path.cwd())
    assert stop.value.exit_code == 143
    assert [folder.name for folder in list_checkpoints(tmp_path / "asked")] == ["step-000003"]
    monkeypatch.setattr(TorchEngine, "step", step)
    train(config, Path.cwd())
    assert losses(tmp_path / "asked") == losses(uninterrupted)


@pytest.mark.parametrize("tokens", [200, 300])
def test_every_split_of_a_step_is_equal(tiny_llama: Path, data: Path, tmp_path: Path, tokens: int) -> None:
    """fp32, no dropout: micro-batches change rounding only."""
    plain = {"dropout": 0.0}
    large, small = ({"pack_tokens": size, "fold": "off"} for size in (2000, tokens))
    one = train(recipe(tiny_llama, data, tmp_path / "one", tune=plain, train=large), Path.cwd())
    cut = train(recipe(tiny_llama, data, tmp_path / "cut", tune=plain, train=small), Path.cwd())
    assert losses(cut) == pytest.approx(losses(one), rel=1e-6)
    assert losses(cut) != [losses(cut)[0]] * 8


def test_the_packs_of_a_step_hold_unequal_numbers_of_targets(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    """Else the test above could not tell the step's mean from a mean of the packs' means."""
    from llm.data.loader import plan_run
    from llm.train.run_data import read_run_data
    from vlm.model.runs import open_model, parts_of

    config = recipe(tiny_llama, data, tmp_path, train={"pack_tokens": 200, "fold": "off"})
    run_data = read_run_data(config, parts_of(open_model(config)), tmp_path, Path.cwd())
    plan = plan_run(run_data.train, run_data.chosen, config.train, 0).plans[0]
    counts = [[int(run_data.train.targets[pack].sum()) for pack in step] for step in plan.steps]
    assert any(len(set(step)) > 1 for step in counts)


def test_finished_runs_and_changed_recipes(
    tiny_llama: Path, data: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    train(recipe(tiny_llama, data, uninterrupted), Path.cwd())
    assert "nothing to do" in capsys.readouterr().out
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before
    with pytest.raises(RunError, match="lr: 0.5"):
        train(recipe(tiny_llama, data, uninterrupted, optim={"lr": 0.5}), Path.cwd())


@pytest.mark.parametrize("kind", ["full", "qlora"])
def test_other_ways_to_tune(tiny_llama: Path, data: Path, tmp_path: Path, kind: str) -> None:
    changes = {"tune": {"kind": kind}, "train": {"dtype": "bf16", "max_steps": 6}}
    folder = train(recipe(tiny_llama, data, tmp_path / kind, **changes), Path.cwd())
    assert losses(folder)[-1] < 0.95 * losses(folder)[0]


def test_fill_recompute_validation_and_probes(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "data": {"validation": 0.2},
        "train": {
            "packing": "fill",
            "recompute": True,
            "validate_every": 2,
            "sample_every": 2,
            "max_steps": 4,
            "probes": [{"prompt": "Who are you?", "max_new_tokens": 4}],
        },
    }
    folder = train(recipe(tiny_llama, data, tmp_path / "all", **changes), Path.cwd())
    validation = [row["loss"] for row in read_metrics(folder, "validation")]
    assert len(validation) == 2 and validation[1] < validation[0]
    answers = sorted(path.name for path in (folder / "samples").iterdir())
    assert answers == ["step-000000.json", "step-000002.json", "step-000004.json"]


def test_the_validation_loss_is_that_of_plain_transformers(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    """Over the records of a file of their own, with the weights of its step, however the records are packed."""
    talks = [
        (("Who are you?", "the fox"),),
        (("What is it?", "a quick quick fox"), ("Is it so?", "so")),
        (("I?", "I"),),
    ]
    lines = []
    for turns in talks:
        said = [{"role": role, "content": text} for turn in turns for role, text in zip(ROLES, turn, strict=True)]
        lines.append(json.dumps({"messages": said}))
    (tmp_path / "held.jsonl").write_text("\n".join(lines))
    held = {"validation_sources": [{"path": str(tmp_path / "held.jsonl")}]}
    steps = {"max_steps": 2, "validate_every": 2, "save_every": 2, "pack_tokens": 100}
    config = recipe(tiny_llama, data, tmp_path / "run", data=held, tune={"kind": "full"}, train=steps)
    folder = train(config, Path.cwd())
    plain = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32, attn_implementation="eager")
    saved = final_weights(folder)
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            (found,) = (other for other in saved if other.endswith("." + name.removeprefix("model.")))
            weight.copy_(saved[found])

        def logits(row: Record) -> torch.Tensor:
            return plain(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0]

        tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
        expected = mean_loss(logits, [chatml(tokenizer, turns) for turns in talks])
    (line,) = read_metrics(folder, "validation")
    assert line["step"] == 2 and line["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_probes_leave_the_run_alone(tiny_llama: Path, data: Path, tmp_path: Path, uninterrupted: Path) -> None:
    """Generation in the middle of training must not move the random numbers that dropout reads."""
    probes = {"sample_every": 3, "probes": [{"prompt": "Who are you?", "max_new_tokens": 3}]}
    folder = train(recipe(tiny_llama, data, tmp_path / "probed", train=probes), Path.cwd())
    assert losses(folder) == losses(uninterrupted)


def test_a_loss_that_is_not_finite_names_the_records(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    config = recipe(tiny_llama, data, tmp_path / "nan", optim={"lr": 1e30, "clip": 0.0, "warmup": 0.0})
    with pytest.raises(TrainingError, match="chat.jsonl:") as stopped:
        train(config, Path.cwd())
    assert "Lower optim.lr" in str(stopped.value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("kind", "clip"), [("lora", 1.0), ("full", 0.0)])
def test_a_gradient_that_is_not_finite_stops_before_the_weights_move(
    tiny_llama: Path, data: Path, tmp_path: Path, kind: str, clip: float, value: float
) -> None:
    """The loss is finite all the while: only the norm shows it."""
    config = recipe(tiny_llama, data, tmp_path / "run", tune={"kind": kind}, optim={"clip": clip})
    with planted(value) as spoiler, pytest.raises(TrainingError) as stopped:
        train(config, Path.cwd())
    said = re.match(r"step 2: loss ([\d.]+), gradient norm (inf|nan); the weights were not changed", str(stopped.value))
    assert said and 0 < float(said[1]) < 100, str(stopped.value)
    assert spoiler.steps == 2 and spoiler.moved() == []
    assert len(losses(tmp_path / "run")) == 1, "the step is not reported as one"


@pytest.mark.parametrize("said", ["DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", "other"])
def test_a_pack_that_does_not_fit_is_named(
    tiny_llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def fails(*_: Any) -> torch.Tensor:
        raise RuntimeError(said)

    monkeypatch.setattr(TorchEngine, "backward", fails)
    expected: tuple[type[Exception], str] = (RuntimeError, "other")
    if said != "other":
        expected = (TrainingError, r"step 1: out of memory on a pack of [\d,]+ tokens \(6 samples\).*train.pack_tokens")
    with pytest.raises(expected[0], match=expected[1]):
        train(recipe(tiny_llama, data, tmp_path / "full"), Path.cwd())


def test_an_unwritable_folder(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        train(recipe(tiny_llama, data, tmp_path / "file" / "run"), Path.cwd())


def test_a_pack_too_small_is_a_config_error(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Raise train.pack_tokens"):
        train(recipe(tiny_llama, data, tmp_path / "small", train={"pack_tokens": 20}), Path.cwd())


def test_the_recipe_in_the_folder_is_the_recipe(tiny_llama: Path, data: Path, uninterrupted: Path) -> None:
    assert (uninterrupted / "config.yaml").read_text() == resolve_yaml(recipe(tiny_llama, data, uninterrupted))
