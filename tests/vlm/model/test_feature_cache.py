"""Cached features: training is the same with and without; stages and evaluation share them; a kill breaks no file."""

import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from llm.errors import ImageError
from llm.files.saved_checkpoints import list_checkpoints
from llm.formats.conversation import ImageRef
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from tests.vlm.runs import recipe
from vlm.config import VqaEval
from vlm.evaluate.vqa import evaluate_vqa
from vlm.model import feature_cache
from vlm.model.feature_cache import FeatureCache, fill_cache, open_feature_cache, tower_key
from vlm.model.forward import VlmModel
from vlm.model.run_parts import keep_features
from vlm.model.runs import open_run, train
from vlm.model.vision_model import VisionModel, build_vlm
from vlm.vision.towers import Tower, load_tower


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run, "train")]


def built(llm: Path, tower: Path, records: Path, folder: Path, **model: Any) -> VisionModel:
    return build_vlm(recipe(llm, tower, records, folder, "pretrain", model=model).model, torch.float32)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("eyes", ["clip", "siglip", "dinov2_registers", "cnn"])
def test_losses_are_equal_with_and_without_cache(
    eyes: str, tiny_llm: Path, records: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tower = request.getfixturevalue(eyes)
    runs = {
        mode: train(
            recipe(tiny_llm, tower, records, tmp_path / mode / "run", "pretrain", data={"cache_features": mode}), Path()
        )
        for mode in ("on", "off")
    }
    assert losses(runs["on"]) == pytest.approx(losses(runs["off"]), rel=1e-5)
    assert len(files(tmp_path / "on/.features")) == 16 and not (tmp_path / "off/.features").exists()


def test_the_tower_runs_once_per_image(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over both epochs, the second stage and the right images of the evaluation."""
    shown: list[int] = []
    whole = Tower.features

    def counted(self: Tower, pixels: torch.Tensor) -> torch.Tensor:
        shown.append(len(pixels))
        return whole(self, pixels)

    first = train(recipe(tiny_llm, clip, records, tmp_path / "one", "pretrain", train={"epochs": 3}), Path())
    monkeypatch.setattr(Tower, "features", counted)
    second = train(recipe(tiny_llm, clip, records, tmp_path / "two", "finetune", **{"from": str(first)}), Path())
    assert sum(shown) == 0, "stage 1 had seen them all"
    opened = open_run(second)
    assert isinstance(opened.model, VlmModel)
    assert "16 are there" in keep_features(opened.model, opened.config, [], second)
    plan = VqaEval.model_validate({"source": {"path": str(records.with_name("questions.json"))}})
    evaluate_vqa(opened.model, opened.encoder, plan, tmp_path, Path())
    assert sum(shown) == 1, "the blank one"


@pytest.mark.parametrize("eyes", ["clip", "dinov2_registers", "cnn"])
def test_a_partly_filled_cache_changes_no_bit(
    eyes: str, tiny_llm: Path, records: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A run that is killed and resumes with half of the features cached repeats its losses."""
    tower = request.getfixturevalue(eyes)
    done: list[dict[str, torch.Tensor]] = []
    for name in ("none", "all", "half"):
        if done:
            shutil.copytree(tmp_path / "none/.features", tmp_path / name / ".features")
        if name == "half":
            for file in files(tmp_path / "half")[::2]:
                file.unlink()
        changes: dict[str, Any] = {"train": {"dtype": "bf16", "epochs": 1}, "tune": {"kind": "full"}}
        run = train(recipe(tiny_llm, tower, records, tmp_path / name / "run", "finetune", **changes), Path())
        done.append(read_weights(list_checkpoints(run)[-1]))
    for other in done[1:]:
        assert all(torch.equal(tensor, other[key]) for key, tensor in done[0].items())


def test_features_of_a_trained_tower_are_not_cached(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path, capsys: Any
) -> None:
    tune = {"kind": "lora", "rank": 4, "tower": "lora", "tower_rank": 2}
    train(
        recipe(tiny_llm, clip, records, tmp_path / "run", "finetune", tune=tune, data={"cache_features": "on"}), Path()
    )
    assert "the tower trains" in capsys.readouterr().out and not (tmp_path / ".features").exists()


def test_auto_caches_if_all_fit(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    vision = built(tiny_llm, clip, records, tmp_path)
    names = [ImageRef(f"{number}.png") for number in range(1000)]
    each = vision.tower.image_tokens * vision.tower.hidden * 4
    enough, less = 1000 * each / feature_cache.GIB, 999 * each / feature_cache.GIB
    assert open_feature_cache(vision, "auto", tmp_path / "f", names, enough)[0] is not None
    cache, line = open_feature_cache(vision, "auto", tmp_path / "f", names, less)
    assert cache is None and "do not fit" in line and "data.cache_gib" in line
    cache, _ = open_feature_cache(vision, "on", tmp_path / "f", names, 2.5 * each / feature_cache.GIB)
    assert cache is not None
    for name in ("aa", "bb", "cc"):
        cache.put(name, torch.zeros(vision.tower.image_tokens, vision.tower.hidden))
    assert len(files(tmp_path / "f")) == 2, "no more than the bound"
    assert open_feature_cache(vision, "off", tmp_path / "g", names, 1)[0] is None and not (tmp_path / "g").exists()


def test_whatever_changes_features_changes_the_key(clip: Path, siglip: Path, tmp_path: Path) -> None:
    towers = [
        load_tower(str(clip)),
        load_tower(str(siglip)),
        load_tower(str(clip), layer=-1),
        load_tower(str(clip), image_size=48),
        load_tower(str(clip), image_mode="resize"),
        load_tower(str(clip), pool=2),
        load_tower(str(clip), dtype=torch.bfloat16),
    ]
    tuned = load_tower(str(clip))
    with torch.no_grad():
        next(tuned.module.parameters()).view(-1)[3] += 1e-6
    keys = [tower_key(tower) for tower in (*towers, tuned)]
    assert len(set(keys)) == len(keys)
    assert tower_key(load_tower(str(clip))) == keys[0]


def test_another_image_under_the_same_name_is_another_image(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "f", 2, 3, torch.float32, 10**6)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    red = cache.key(ImageRef(str(tmp_path / "a.png")))
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    assert cache.key(ImageRef(str(tmp_path / "b.png"))) == red
    assert cache.key(ImageRef(data=(tmp_path / "a.png").read_bytes())) == red
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "a.png")
    assert cache.key(ImageRef(str(tmp_path / "a.png"))) != red


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cached_features_are_read_back_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 5, 7, dtype, 10**6)
    rows = torch.randn(5, 7).to(dtype)
    assert cache.get("ab12") is None
    cache.put("ab12", rows)
    found = cache.get("ab12")
    assert found is not None and found.dtype == dtype and torch.equal(found, rows[None])
    (tmp_path / "ab/ab12").write_bytes(b"short")
    assert cache.get("ab12") is None, "a cut file is computed again"


def _write_forever(folder: Path) -> None:
    cache = FeatureCache(folder, 64, 256, torch.float32, 10**12)
    number = 0
    while True:
        cache.put(f"{number % 50:04x}", torch.full((64, 256), float(number % 50)))
        cache.free_bytes += cache.image_tokens
        (folder / f"{number % 50:04x}"[:2] / f"{number % 50:04x}").unlink(missing_ok=True) if number % 3 == 0 else None
        number += 1


def test_two_writers_and_a_kill_leave_complete_files_only(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_forever, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    cache, read = FeatureCache(tmp_path, 64, 256, torch.float32, 0), 0
    while read < 300:
        for number in range(50):
            found = cache.get(f"{number:04x}")
            if found is not None:
                assert (found == float(number)).all(), "half a file"
                read += 1
    for writer in writers:
        writer.kill()
        writer.join()
    for number in range(50):
        found = cache.get(f"{number:04x}")
        assert found is None or (found == float(number)).all()


def test_fill_cache_reports_whether_all_are_cached(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    vision = built(tiny_llm, clip, records, tmp_path)
    images = [ImageRef(str(records.with_name(f"{number}.png"))) for number in range(3)]
    cache, _ = open_feature_cache(vision, "on", tmp_path / "features", images, 1.0)
    assert cache is not None and fill_cache(cache, vision, [*images, images[0]])
    assert len(files(tmp_path / "features")) == 3
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    with pytest.raises(ImageError, match="broken.png"):
        fill_cache(cache, vision, [*images, ImageRef(str(broken))])
    gone = ImageRef(str(tmp_path / "gone.png"))
    assert fill_cache(cache, vision, [*images, ImageRef(str(broken)), gone], lenient=True)
    cache.free_bytes = 0
    assert not fill_cache(cache, vision, [ImageRef(str(records.with_name("9.png")))]), "there was no room for it"
