"""A step of a text run makes the host wait for the device once."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.host_syncs import host_syncs, syncs_of_steps
from tests.llm.text_runs import six_steps


def test_what_reads_a_tensor_is_counted() -> None:
    ones = torch.ones(3)
    with host_syncs() as syncs:
        (ones * 2).sum()
        assert syncs.count == 0
        float(ones[0])
        assert syncs.count == 1
        ones.tolist()
        assert syncs.count == 2
        ones[ones.bool()]
        assert syncs.count == 3
        if ones.sum() > 0:
            ones.bool().nonzero()
        assert syncs.count == 5


@pytest.mark.parametrize("changes", [{}, {"dtype": "bf16"}, {"fold": "off"}, {"lean": "off"}, {"recompute": True}])
def test_one_host_sync_a_step(tiny_llama: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = six_steps(tiny_llama, tmp_path)
    quiet = {"log_every": 100, "save_every": 0}
    train = config.train.model_copy(update=quiet | changes)
    assert syncs_of_steps(config.model_copy(update={"train": train})) == [1] * 5
