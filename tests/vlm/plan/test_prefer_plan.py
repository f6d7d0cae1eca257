"""`eyegraft plan` and `--dry-run` of `stage: prefer`: the step of a preference loss is forecast, not another one."""

from pathlib import Path
from typing import Any

import pytest

from llm.config.prefer import PreferRunConfig
from llm.config.schema import TextRunConfig
from tests.llm.prefer.conftest import write_pairs
from tests.llm.prefer.test_prefer_run import recipe
from vlm.plan.dry_run import dry_run
from vlm.plan.memory_report import candidates, forecast_run


def test_a_step_of_pairs_is_forecast(tiny_llm: Path, tmp_path: Path) -> None:
    config = recipe(tiny_llm, tmp_path / "pairs.jsonl", tmp_path / "run")
    for kind in ("cpu", "card"):
        found = forecast_run(config, [], kind, 0.5)
        assert found.total > 0 and found.flops > 0 and found.parts["head"] > 0
        assert found.pack.endswith("records")
    (pack, *_) = candidates(config, 0.5, "card")
    assert pack.text.tokens == 800, "four records of data.max_length"
    values = config.model_dump(by_alias=True, exclude={"prefer"}) | {"stage": "sft"}
    sft = forecast_run(TextRunConfig.model_validate(values), [], "card", 0.5)
    assert found.flops == pytest.approx(sft.flops, rel=0.02), "the same products"


def test_a_dry_run_counts_pairs_and_steps(
    tiny_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"train": {"epochs": 1}}
    config: PreferRunConfig = recipe(tiny_llm, write_pairs(tmp_path / "pairs.jsonl", 12), tmp_path / "run", **changes)
    dry_run(config, tmp_path)
    shown = capsys.readouterr().out
    assert "preference (the first 12 rows have chosen and rejected answers)" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["records", "12"] in lines and ["steps", "3"] in lines
    assert not (tmp_path / "run").exists()
