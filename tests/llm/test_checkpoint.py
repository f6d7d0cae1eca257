"""Checkpoints are whole or absent, and say what is wrong with them."""

from pathlib import Path

import pytest
import torch

from llm.checkpoint import (
    Progress,
    find_checkpoint,
    list_checkpoints,
    load_weights,
    read_progress,
    read_state,
    read_weights,
    save,
)
from llm.errors import CheckpointError, RunError

WEIGHTS = {"a.weight": torch.arange(6, dtype=torch.bfloat16).view(2, 3)}
STATE = {"engine": {"steps": 3, "moments": [{0: torch.ones(2)}, torch.zeros(1)]}, "random": torch.get_rng_state()}


def _save(run: Path, step: int, keep: int = 2) -> Path:
    return save(run, Progress(step=step, tokens=7), WEIGHTS, STATE, keep)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    folder = _save(tmp_path, 5)
    assert folder.name == "step-000005"
    assert read_progress(folder) == Progress(step=5, tokens=7)
    assert torch.equal(read_weights(folder)["a.weight"], WEIGHTS["a.weight"])
    state = read_state(folder)
    assert state["engine"]["steps"] == 3
    assert torch.equal(state["engine"]["moments"][0][0], torch.ones(2))
    assert torch.equal(state["random"], STATE["random"])


def test_state_is_written_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tensors, a large one and two that share their storage come back as they were."""
    monkeypatch.setattr("llm.checkpoint.SHARD", 100)
    whole = torch.arange(64.0)
    tensors = {"a": whole[:16], "b": whole[:16], "large": whole, "c": torch.ones(3), "none": torch.zeros(0)}
    folder = save(tmp_path, Progress(step=1), WEIGHTS, tensors, keep=1)
    assert len(list(folder.glob("state-*.safetensors"))) > 2
    read = read_state(folder)
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_pruned_to_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        _save(tmp_path, step)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-000002", "step-000003"]
    assert find_checkpoint(tmp_path).name == "step-000003"
    assert find_checkpoint(tmp_path, "2").name == "step-000002"
    with pytest.raises(CheckpointError, match="there are: step-000002, step-000003"):
        find_checkpoint(tmp_path, "1")


def test_a_flipped_bit_is_named(tmp_path: Path) -> None:
    file = _save(tmp_path, 1) / "trainable.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="trainable.safetensors: missing or changed"):
        read_progress(file.parent)


def test_a_half_written_folder_does_not_count(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    (tmp_path / "checkpoints" / ".step-000002.partial").mkdir()
    assert find_checkpoint(tmp_path).name == "step-000001"


def test_no_room_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder must be")
    with pytest.raises(RunError, match="could not be written"):
        _save(tmp_path, 1)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"weight \(2, 3\)|weight .*no place"):
        load_weights(torch.nn.Linear(2, 2), {"weight": torch.zeros(2, 3)})
    model = torch.nn.Linear(2, 2)
    load_weights(model, {"weight": torch.ones(2, 2)})
    assert torch.equal(model.weight.data, torch.ones(2, 2))
