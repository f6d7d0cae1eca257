"""Provenance: a resumed run names what changed since it began, and refuses it."""

import os
import shutil
from pathlib import Path

import pytest

from llm.config.schema import ParallelConfig, TextRunConfig
from llm.errors import CheckpointError, RunError
from llm.train.provenance import Provenance, base_digest
from llm.train.run_folder import refuse_other_recipe
from tests.llm.text_runs import flip, six_steps, unfinished
from tests.soak.damage import prints
from vlm.model.runs import train


@pytest.fixture
def recipe(tiny_llama: Path, tmp_path: Path) -> TextRunConfig:
    return six_steps(tiny_llama, tmp_path)


def test_a_flipped_bit_of_the_base_model_is_named(recipe: TextRunConfig, tmp_path: Path) -> None:
    """One weight of the frozen base differs, in a file of the same size and the same date."""
    own = tmp_path / "own"
    shutil.copytree(recipe.model.llm, own)
    mine = recipe.model_copy(update={"model": recipe.model.model_copy(update={"llm": str(own)})})
    run = unfinished(mine)
    file = own / "model.safetensors"
    found = file.stat()
    flip(file)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    before = prints(run / "checkpoints/step-000004")
    with pytest.raises(CheckpointError, match=r"step-000004: model\.llm changed since the run began .*--anyway"):
        train(mine, Path.cwd())
    assert prints(run / "checkpoints/step-000004") == before
    train(mine, Path.cwd(), anyway=True)


def test_what_changed_is_named_and_what_an_old_checkpoint_did_not_keep_is_let_pass(recipe: TextRunConfig) -> None:
    provenance = Provenance({"data": "d", "tokenizer": "t", "template": "c"}, recipe)
    provenance.refuse_changed(Path("old"), {"engine": {}})
    provenance.refuse_changed(Path("old"), {"data": "d"})
    with pytest.raises(CheckpointError, match="the training data changed"):
        provenance.refuse_changed(Path("old"), {"data": "other"})
    for name in ("tokenizer", "template"):
        with pytest.raises(CheckpointError, match=f"new: {name} changed since the run began"):
            provenance.refuse_changed(Path("new"), {"ground": {**provenance.hashes, name: "other"}})
    with pytest.raises(CheckpointError, match="from is no part of this run any more"):
        provenance.refuse_changed(Path("new"), {"ground": {**provenance.hashes, "from": "x"}})


def test_a_recipe_that_differs_from_the_checkpoint_s_is_named_line_by_line(recipe: TextRunConfig) -> None:
    provenance = Provenance({}, recipe)
    saved = provenance.state()
    provenance.refuse_changed(Path("new"), saved)
    del saved["recipe"]["data"]["on_bad_image"]  # an option that is newer than the checkpoint
    provenance.refuse_changed(Path("new"), saved)
    saved["recipe"]["optim"]["lr"] = 0.5
    with pytest.raises(CheckpointError, match=r"was: lr: 0\.5\n  now: lr: "):
        provenance.refuse_changed(Path("new"), saved)


def test_a_run_folder_of_an_older_version_goes_on(recipe: TextRunConfig) -> None:
    """Its recipe lacks an option that came later, whose default is what it did then."""
    run = unfinished(recipe)
    recipe_text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(recipe_text.replace("  on_bad_image: stop\n", ""))
    assert (run / "config.yaml").read_text() != recipe_text
    train(recipe, Path.cwd())
    assert (run / "config.yaml").read_text() == recipe_text


def test_a_base_is_hashed_again_only_when_its_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, cache = tmp_path / "base", tmp_path / "cache"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(bytes(1000))
    first = base_digest(base, cache)
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", lambda *_: pytest.fail("hashed again"))
        assert base_digest(base, cache) == first
    (cache / "digests.json").write_text("{torn")
    assert base_digest(base, cache) == first
    flip(base / "model.safetensors")
    assert base_digest(base, cache) != first


def test_how_many_share_the_work_may_change_on_the_way(recipe: TextRunConfig) -> None:
    unfinished(recipe)
    shared = recipe.model_copy(update={"parallel": ParallelConfig(zero=1)})
    refuse_other_recipe(Path(recipe.out), shared, anyway=False)
    Provenance({}, shared).refuse_changed(Path("new"), Provenance({}, recipe).state())
    other = shared.model_copy(update={"seed": 1})
    with pytest.raises(RunError, match="these lines differ:\n  was: seed: 0\n  now: seed: 1\nGo on"):
        refuse_other_recipe(Path(recipe.out), other, anyway=False)
    with pytest.raises(CheckpointError, match="the recipe changed"):
        Provenance({}, other).refuse_changed(Path("new"), Provenance({}, recipe).state())
