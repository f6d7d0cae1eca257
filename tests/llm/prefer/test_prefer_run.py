"""`stage: prefer` on text, from recipe to checkpoint: what it trains, measures, caches and resumes."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoTokenizer, LlamaForCausalLM

from llm.config.prefer import PreferRunConfig
from llm.files.saved_checkpoints import list_checkpoints
from llm.prefer import reference
from llm.train import run as run_module
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from vlm.model.runs import open_run, train


def recipe(llm: Path, file: Path, out: Path, **changes: Any) -> PreferRunConfig:
    values: dict[str, Any] = {
        "name": "tiny",
        "out": str(out),
        "stage": "prefer",
        "model": {"llm": str(llm)},
        "data": {"sources": [{"path": str(file)}], "max_length": 200, "template": "chatml"},
        "tune": {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.0},
        "optim": {"lr": 3e-3, "warmup": 0.0, "schedule": "constant"},
        "train": {"epochs": 2, "batch": 4, "dtype": "fp32", "save_every": 2, "log_every": 1, "keep": 2},
        "prefer": {"beta": 0.5},
    }
    for section, keys in changes.items():
        values[section] = values.get(section, {}) | keys
    return PreferRunConfig.model_validate(values)


def lines(run: Path, kind: str = "train") -> list[dict[str, Any]]:
    return read_metrics(run, kind)


def test_the_first_loss_is_log_2_and_pairs_are_learnt(tiny_llama: Path, pairs: Path, tmp_path: Path) -> None:
    config = recipe(tiny_llama, pairs, tmp_path / "run", train={"epochs": 6}, data={"validation": 0.3})
    rows = lines(train(config, tmp_path))
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6), "the model is its reference"
    assert rows[0]["rewards/chosen"] == rows[0]["rewards/rejected"] == rows[0]["rewards/margins"] == 0.0
    assert rows[-1]["loss"] < 0.6 and rows[-1]["rewards/margins"] > 0.1
    (validation,) = lines(tmp_path / "run", "validation")
    assert {"loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "nll"} <= set(validation)
    assert 0.0 <= validation["rewards/accuracies"] <= 1.0


def test_metrics_of_a_step_by_plain_transformers(tiny_llama: Path, pairs: Path, tmp_path: Path) -> None:
    """The first step of full training, a record at a time, in sequences of their own."""
    config = recipe(tiny_llama, pairs, tmp_path / "run", train={"batch": 12, "epochs": 1}, tune={"kind": "full"})
    (row,) = lines(train(config, tmp_path))
    model = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    found: dict[str, list[float]] = {"chosen": [], "rejected": []}
    tokens: list[int] = []
    for pair in read_rows(pairs):
        for side, sums in found.items():
            start = f"<|im_start|>user\n{pair['prompt']}<|im_end|>\n<|im_start|>assistant\n"
            prompt = tokenizer(start, add_special_tokens=False)["input_ids"]
            answer = tokenizer(f"{pair[side]}<|im_end|>", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            sums.append(sum(float(logits[len(prompt) - 1 + at, token]) for at, token in enumerate(answer)))
            tokens += [len(answer)] if side == "chosen" else []
    assert row["logps/chosen"] == pytest.approx(sum(found["chosen"]) / 12, rel=1e-5)
    assert row["logps/rejected"] == pytest.approx(sum(found["rejected"]) / 12, rel=1e-5)
    nll = [-total / count for total, count in zip(found["chosen"], tokens, strict=True)]
    assert row["nll"] == pytest.approx(sum(nll) / 12, rel=1e-5)


def read_rows(file: Path) -> list[dict[str, str]]:
    import json

    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("loss", ["dpo", "bco", "kto", "simpo"])
def test_a_run_that_is_stopped_goes_on_bit_for_bit(
    loss: str, tiny_llama: Path, pairs: Path, labelled: Path, tmp_path: Path
) -> None:
    data = labelled if loss == "kto" else pairs
    changes: dict[str, Any] = {"prefer": {"loss": loss}, "tune": {"dropout": 0.1}, "train": {"log_every": 3}}
    complete = train(recipe(tiny_llama, data, tmp_path / "complete", **changes), tmp_path)
    stopped = recipe(tiny_llama, data, tmp_path / "stopped", **changes)
    train(stopped, tmp_path)
    shutil.rmtree(list_checkpoints(tmp_path / "stopped")[-1])  # it is at step 4 of 6
    assert len(list_checkpoints(train(stopped, tmp_path))) == 2
    keys = [key for key in lines(complete)[0] if key.startswith(("loss", "rewards/", "logps/", "nll"))]
    assert len(keys) >= 6
    assert [[row[key] for key in keys] for row in lines(complete)] == [
        [row[key] for key in keys] for row in lines(tmp_path / "stopped")
    ]
    one, other = (read_weights(list_checkpoints(run)[-1]) for run in (complete, tmp_path / "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


def test_the_reference_is_computed_once_and_read_by_later_runs(
    tiny_llama: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    monkeypatch.setattr(run_module.logger, "info", lambda line, *_: noted.append(str(line)))
    cache = {"cache": str(tmp_path / "cache")}
    drops = {"dropout": 0.1}  # computing the reference takes none of the numbers that dropout is drawn from
    first = train(recipe(tiny_llama, pairs, tmp_path / "first", data=cache, tune=drops), tmp_path)
    assert any("of 12 records computed, of 0 read" in line for line in noted)
    again = train(recipe(tiny_llama, pairs, tmp_path / "again", data=cache, tune=drops), tmp_path)
    assert any("of 0 records computed, of 12 read" in line for line in noted)
    assert [row["loss"] for row in lines(first)] == [row["loss"] for row in lines(again)]
    other = recipe(tiny_llama, pairs, tmp_path / "other", data=cache | {"template": "vicuna"}, train={"max_steps": 1})
    noted.clear()
    train(other, tmp_path)
    assert any("of 4 records computed, of 0 read" in line for line in noted), "of the one step that is made"
    (file, *_) = (tmp_path / "cache" / reference.FOLDER).iterdir()
    file.write_bytes(b"no table")
    noted.clear()
    train(recipe(tiny_llama, pairs, tmp_path / "damaged", data=cache), tmp_path)
    assert any("records computed" in line for line in noted)


def test_the_reference_of_full_training_is_the_model_as_it_began_also_after_a_stop(
    tiny_llama: Path, pairs: Path, tmp_path: Path
) -> None:
    changes = {"tune": {"kind": "full"}, "optim": {"lr": 1e-3}}
    complete = train(recipe(tiny_llama, pairs, tmp_path / "complete", **changes), tmp_path)
    stopped = recipe(tiny_llama, pairs, tmp_path / "stopped", **changes)
    train(stopped, tmp_path)
    shutil.rmtree(list_checkpoints(tmp_path / "stopped")[-1])
    shutil.rmtree(tmp_path / "stopped" / "cache" / reference.FOLDER)
    train(stopped, tmp_path)
    assert lines(complete)[-1]["rewards/margins"] != 0.0
    assert [row["loss"] for row in lines(complete)] == [row["loss"] for row in lines(tmp_path / "stopped")]


@pytest.mark.parametrize("loss", ["dpo", "kto", "bco"])
def test_a_step_does_not_depend_on_how_it_is_cut_into_packs(
    loss: str, tiny_llama: Path, pairs: Path, labelled: Path, tmp_path: Path
) -> None:
    data = labelled if loss == "kto" else pairs
    runs = [
        train(
            recipe(tiny_llama, data, tmp_path / f"{budget}", prefer={"loss": loss}, train={"pack_tokens": budget}),
            tmp_path,
        )
        for budget in (4096, 80)
    ]
    one, other = ([row["loss"] for row in lines(run)] for run in runs)
    assert one == pytest.approx(other, abs=1e-6) and len(one) == 6


def test_the_trained_model_opens_as_any_other(tiny_llama: Path, pairs: Path, tmp_path: Path) -> None:
    run = train(recipe(tiny_llama, pairs, tmp_path / "run"), tmp_path)
    opened = open_run(run)
    names = read_weights(list_checkpoints(run)[-1]).keys()
    assert names <= set(dict(opened.model.named_parameters())) and names


def test_qlora_compares_with_its_own_four_bit_weights(tiny_llama: Path, pairs: Path, tmp_path: Path) -> None:
    config = recipe(tiny_llama, pairs, tmp_path / "run", tune={"kind": "qlora"}, train={"epochs": 4})
    rows = lines(train(config, tmp_path))
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.01 and rows[-1]["rewards/margins"] > 0


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"prefer": {"loss": "kto"}, "parallel": {"zero": 2}}, "loss: kto gives other figures under ZeRO"),
        ({"parallel": {"zero": 3}}, "zero: 3 partitions the weights"),
        ({"parallel": {"sequence": 2}}, "sequence: found above 1"),
        ({"data": {"turns": "apart"}}, "turns: apart"),
        (
            {
                "prefer": {"loss": "kto"},
                "data": {"validation": 0.3},
                "train": {"keep_best": "reward_accuracy", "validate_every": 1},
            },
            "kto has none of",
        ),
        ({"tune": {"kind": "full"}, "prefer": {"reference": "adapters_off"}}, "adapters_off needs adapters"),
    ],
)
def test_what_has_no_right_figures_is_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        recipe(Path("llm"), Path("pairs.jsonl"), Path("out"), **changes)
