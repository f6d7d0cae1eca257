"""Features of a frozen image side on disk: the losses are those without a cache, bit by bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llm.formats.conversation import ImageRef
from tests.vlm.ready.test_families import save_images
from tests.vlm.ready.test_training import losses, recipe
from vlm.model.runs import train
from vlm.ready import batch
from vlm.ready.feature_cache import Mode, ReadyFeatures, Unit, image_side_key, open_ready_features
from vlm.ready.processor import ReadyProcessor
from vlm.ready.ready_model import Inputs, ReadyVlm, open_ready
from vlm.vision.images import read_image

Family = Callable[[str], Path]
Opened = Callable[[str], ReadyVlm]
NAMES = ("qwen3_vl", "llava_onevision", "idefics3")  # layers of their own; tiles; zero tiles that are dropped


def cached_files(folder: Path) -> list[Path]:
    """The files of a cache."""
    return [file for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_those_without_a_cache(
    name: str, family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(out: str, **data: object) -> list[float]:
        return losses(train(recipe(tmp_path, family(name), out=str(tmp_path / out), data=data), tmp_path))

    expected = run("off", cache_features="off")
    assert not (tmp_path / ".features").exists()
    assert run("first") == expected
    assert len(cached_files(tmp_path / ".features")) == 3, "three distinct images"

    honest = batch.read_inputs

    def of_the_proof_alone(unit: Unit, processor: ReadyProcessor) -> Inputs:
        assert not any(Path(image.path).is_relative_to(tmp_path) for image in unit), "decoded although it is cached"
        return honest(unit, processor)

    monkeypatch.setattr(batch, "read_inputs", of_the_proof_alone)
    assert run("second", cache_features="on") == expected


def test_deepstack_and_grids_come_back_bit_by_bit(opened: Opened, tmp_path: Path) -> None:
    vlm = opened("qwen3_vl")
    unit = tuple(ImageRef(str(path)) for path in save_images(tmp_path)[:2])
    inputs = vlm.processor.inputs([read_image(image) for image in unit])
    with torch.no_grad():
        rows = vlm.features(inputs)
    cache = ReadyFeatures(tmp_path / "cache" / "own", vlm.position_inputs, 2**30)
    key = cache.key(unit)
    assert cache.get(key) is None and key != cache.key(unit[:1])
    cache.put(key, inputs, rows)
    found = cache.get(key)
    assert found is not None
    assert torch.equal(found[0].rows, rows.rows) and len(found[0].layers) == 2
    assert all(torch.equal(one, other) for one, other in zip(found[0].layers, rows.layers, strict=True))
    assert found[1].keys() == {"image_grid_thw"} and torch.equal(found[1]["image_grid_thw"], inputs["image_grid_thw"])
    [file] = cached_files(tmp_path / "cache")
    file.write_bytes(file.read_bytes()[:-8])
    assert cache.get(key) is None, "a file that was cut off is computed again"


def test_other_weights_of_the_image_side_are_another_key(family: Family) -> None:
    vlm = open_ready(str(family("llava_next")))
    before = image_side_key(vlm)
    assert before == image_side_key(open_ready(str(family("llava_next"))))
    with torch.no_grad():
        vlm.head.weight += 1
        assert image_side_key(vlm) == before
        vlm.loose[0].add_(1)
    assert image_side_key(vlm) != before


@pytest.mark.parametrize(
    ("mode", "gib", "said"),
    [
        ("off", 1.0, r"data\.cache_features: off"),
        ("auto", 1e-6, r"do not fit the 0\.0 GiB that are left \(data\.cache_gib\)"),
        ("on", 1e-6, "features: cached in"),
        ("auto", 1.0, "features: cached in"),
    ],
)
def test_a_cache_is_bounded(mode: Mode, gib: float, said: str, opened: Opened, tmp_path: Path) -> None:
    vlm = opened("qwen2_vl")
    vlm.hf.requires_grad_(False)
    units = [((ImageRef("a.png"),), 100), ((ImageRef("b.png"),), 100)]
    _, line = open_ready_features(vlm, mode, tmp_path / "cache", units, gib)
    vlm.hf.requires_grad_(True)
    assert said.replace("\\", "") in line


def test_an_image_side_that_trains_is_computed(
    family: Family, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train(recipe(tmp_path, family("llava"), tune={"tower": "full"}, train={"max_steps": 1}), tmp_path)
    assert "features: computed in every step, the image side trains" in caplog.text
    assert not cached_files(tmp_path / ".features")
