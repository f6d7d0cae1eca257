"""Checkpoints are complete or absent; damage is named by file."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from llm.errors import CheckpointError, RunError
from llm.files.saved_checkpoints import find_checkpoint, list_checkpoints, weights_digest
from llm.train.checkpoint import save
from llm.train.checkpoint_state import Progress, load_weights, read_progress, read_state, read_weights, verified_weights

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


def test_what_lies_in_the_folder(tmp_path: Path) -> None:
    """Read by safetensors, json and hashlib alone: the names and forms that older folders have."""
    state = {"steps": 3, "moments": [{0: torch.ones(2)}, (torch.zeros(1), None)], "text": "é"}
    folder = save(tmp_path, Progress(step=5, tokens=7, seconds=1.5, metrics=9), WEIGHTS, state, keep=2)
    names = ["progress.json", "state-000.safetensors", "state.json", "trainable.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", *names]
    assert (folder.parent / "latest").read_text() == "step-000005\n"
    weights = load_file(folder / "trainable.safetensors")
    assert weights.keys() == {"a.weight"} and weights["a.weight"].dtype == torch.bfloat16
    assert weights["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    progress = {"step": 5, "tokens": 7, "seconds": 1.5, "metrics": 9, "finished": False}
    window = {"losses": [], "norms": [], "tokens": 0, "seconds": 0.0, "waited": 0.0, "wall": 0.0, "sums": []}
    newer = {"best_step": 0, "best": None, "waited": 0, "window": window}  # older folders lack these
    assert json.loads((folder / "progress.json").read_text()) == progress | newer
    ones, zeros = {"$tensor": ".moments.0.0"}, {"$tensor": ".moments.1.0"}
    moments = ["moments", [{"$dict": [[0, ones]]}, [zeros, None]]]
    assert json.loads((folder / "state.json").read_text()) == {"$dict": [["steps", 3], moments, ["text", "é"]]}
    tensors = load_file(folder / "state-000.safetensors")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {".moments.0.0": [1, 1], ".moments.1.0": [0]}
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    sizes = {name: (folder / name).stat().st_size for name in names}
    listed = {name: {"size": sizes[name], "sha256": digests[name]} for name in names}
    assert json.loads((folder / "manifest.json").read_text()) == listed
    assert weights_digest(folder) == digests["trainable.safetensors"]


def test_a_view_and_a_gradient_are_written_as_plain_values(tmp_path: Path) -> None:
    turned = torch.nn.Parameter(torch.arange(6.0).view(2, 3).t())
    folder = save(tmp_path, Progress(step=1), {"t": turned}, {}, keep=1)
    assert read_weights(folder)["t"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_checkpoints_are_numbers_and_nothing_else_counts(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path) == []
    with pytest.raises(CheckpointError, match="no checkpoint 'latest'; there are: none"):
        find_checkpoint(tmp_path)
    for name in ("step-1000000", "step-999999", "step-12", "damaged-step-000001", "step-000001.old", "best"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-999999", "step-1000000"]
    assert find_checkpoint(tmp_path).name == "step-1000000"
    assert find_checkpoint(tmp_path, "999999") == find_checkpoint(tmp_path, "step-999999")


def test_weights_are_compared_with_the_manifest_before_they_are_used(tmp_path: Path) -> None:
    folder = _save(tmp_path, 1)
    assert torch.equal(verified_weights(folder)["a.weight"], WEIGHTS["a.weight"])
    (folder / "state.json").write_text("{}")  # damage to another file is ignored
    verified_weights(folder)
    file = folder / "trainable.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(CheckpointError, match="trainable.safetensors: missing or changed"):
        verified_weights(folder)


def test_state_is_written_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tensors, a large one and two that share their storage come back as they were."""
    monkeypatch.setattr("llm.train.checkpoint_state.SHARD", 150)
    storage = torch.arange(64.0)  # 256 bytes
    tensors = {"a": storage[:16], "b": storage[:16], "large": storage, "c": torch.ones(3), "none": torch.zeros(0)}
    folder = save(tmp_path, Progress(step=1), WEIGHTS, tensors, keep=1)
    shards = [sorted(load_file(file)) for file in sorted(folder.glob("state-*.safetensors"))]
    assert shards == [[".a", ".b"], [".large"], [".c", ".none"]], "64 and 64, 256, 12 and 0 bytes"
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
    with pytest.raises(CheckpointError, match=r"weight weight \(2, 3\) has no place in this model"):
        load_weights(torch.nn.Linear(2, 2), {"weight": torch.zeros(2, 3)})
    with pytest.raises(CheckpointError, match=r"weight scale \(2,\) has no place in this model"):
        load_weights(torch.nn.Linear(2, 2), {"scale": torch.zeros(2)})


def test_weights_and_buffers_are_copied_by_name() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).to(torch.bfloat16)
    weight, mean, bias = model[0].weight, model[1].running_mean, model[0].bias.detach().clone()
    load_weights(
        model, {"0.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "1.running_mean": torch.tensor([5.0, 6.0])}
    )
    assert model[0].weight is weight and weight.tolist() == [[1, 2], [3, 4]] and weight.dtype == torch.bfloat16
    assert mean is not None and mean.tolist() == [5, 6]
    assert torch.equal(model[0].bias, bias), "what is not named is left alone"


def test_a_small_state_is_one_file_in_a_folder_that_was_not_there(tmp_path: Path) -> None:
    folder = save(
        tmp_path / "runs" / "deep", Progress(step=1), WEIGHTS, {"a": torch.zeros(2**16), "b": torch.ones(2**16)}, 1
    )
    assert [file.name for file in folder.glob("state-*.safetensors")] == ["state-000.safetensors"]


def test_an_old_checkpoint_that_cannot_be_deleted_is_reported_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(folder: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(13, "not yours", str(folder))

    _save(tmp_path, 1)
    _save(tmp_path, 2)
    monkeypatch.setattr("llm.train.checkpoint.shutil.rmtree", refuse)
    _save(tmp_path, 3)
    assert f"{tmp_path}/checkpoints/step-000001: an old checkpoint could not be deleted" in capsys.readouterr().err
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-000002", "step-000003"]


def test_a_full_disk_leaves_nothing_of_the_checkpoint_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for weights, state and 16 MiB is asked for before the first byte is written."""
    _save(tmp_path, 1)
    need = 16 * 2**20 + 6 * 2 + 2 * 4 + 4 + STATE["random"].nbytes
    for free, fits in ((need, True), (need - 1, False)):
        monkeypatch.setattr(
            "llm.train.checkpoint_state.shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free)
        )
        if fits:
            _save(tmp_path, 2)
            continue
        with pytest.raises(RunError, match=r"step-000003: the checkpoint could not be written.*MiB are free"):
            _save(tmp_path, 3)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["latest", "step-000001", "step-000002"]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, r"step-000001: manifest.json is missing; the checkpoint is incomplete"),
        ("folder", "manifest.json: cannot be read"),
        ("{", "manifest.json: changed since it was written. "),
        ("[]", "manifest.json: changed since it was written, it names too few files"),
        ('{"progress.json": {}, "state.json": {}}', "it names too few files"),
    ],
)
def test_a_manifest_that_says_too_little_is_named(tmp_path: Path, manifest: str | None, said: str) -> None:
    checkpoint = _save(tmp_path, 1)
    (checkpoint / "manifest.json").unlink()
    if manifest == "folder":
        (checkpoint / "manifest.json").mkdir()
    elif manifest is not None:
        (checkpoint / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointError, match=said):
        read_progress(checkpoint)
