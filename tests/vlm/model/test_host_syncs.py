"""A step of a vision run makes the host wait for the device once, when its image features are cached or not cached."""

from pathlib import Path
from typing import Any

import pytest

from tests.host_syncs import syncs_of_steps
from tests.vlm.runs import recipe

STEPS = 6


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
@pytest.mark.parametrize("features", ["off", "on"])
def test_one_host_sync_a_step(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path, stage: str, features: str
) -> None:
    """While the cache is being filled, the first time an image is seen, its features are copied to the host as well."""
    tune: dict[str, Any] = {"kind": "full"} if stage == "finetune" else {}
    train = {"epochs": 2, "log_every": 100}
    data = {"cache_features": features}
    config = recipe(tiny_llm, clip, records, tmp_path / "run", stage, tune=tune, train=train, data=data)
    syncs = syncs_of_steps(config)
    assert len(syncs) == STEPS - 1
    second_epoch = syncs[STEPS // 2 :]
    assert second_epoch == [1] * len(second_epoch)
    assert features == "on" or syncs == [1] * len(syncs)
