"""Several images in one call of a tower: no bit of one depends on the others."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vlm.vision.exact_batching import ExactBatches, PartialVectors, leaves_partial_vector
from vlm.vision.towers import CNN, Tower, load_tower


class Eyes(nn.Module):
    """A ViT of one layer that records the batch sizes of its calls."""

    def __init__(self, sociable: bool) -> None:
        super().__init__()
        self.sociable = sociable
        self.calls: list[int] = []
        self.dtype = torch.float32

    def forward(self, pixels: Tensor, output_hidden_states: list[int]) -> Any:
        self.calls.append(len(pixels))
        rows = pixels.flatten(2).transpose(1, 2)
        if self.sociable:
            rows = rows + 1e-6 * rows.mean(0, keepdim=True)
        return type("Output", (), {"hidden_states": [rows]})


def tower_of(like: Tower, sociable: bool, **facts: Any) -> tuple[Tower, Eyes]:
    eyes: Any = Eyes(sociable)
    return replace(like, module=eyes, kind="eyes", layer=0, dropped=0, leading=0, **facts), eyes


@pytest.mark.parametrize("eyes", ["clip", "siglip", "dinov2_registers", "cnn"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_in_a_batch_are_those_of_single_images(
    eyes: str, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    tower = load_tower(str(request.getfixturevalue(eyes)), dtype=dtype)
    side = tower.preprocess.size
    pixels = torch.randn(11, 3, side, side, generator=torch.Generator().manual_seed(5))
    alone = torch.cat([ExactBatches(tower)(picture) for picture in pixels.split(1)])
    apart = ExactBatches(tower)
    assert torch.equal(apart(pixels), alone)
    if eyes == "dinov2_registers":  # rows of the others' tiny sizes fill no whole vectors
        assert any(apart._sizes.values()), "never in company"
    order = torch.randperm(11, generator=torch.Generator().manual_seed(6))
    assert torch.equal(apart(pixels[order][:7]), alone[order][:7])
    torch.testing.assert_close(tower.features(pixels), alone, rtol=1e-2, atol=1e-2 if dtype == torch.bfloat16 else 1e-4)


def test_batches_are_as_large_as_was_tested(clip: Path) -> None:
    tower, eyes = tower_of(load_tower(str(clip)), sociable=False, grid=4)
    apart, pixels = ExactBatches(tower), torch.randn(11, 3, 4, 4)
    apart(pixels[:1])
    assert eyes.calls == [1], "one image needs no proof"
    apart(pixels)
    proof = [8, *[1] * 8, 4, *[1] * 4, 2, *[1] * 2]
    assert eyes.calls[1:] == [*proof, 8, 2, 1]
    eyes.calls.clear()
    apart(pixels[:7])
    assert eyes.calls == [4, 2, 1], "a size is tried once"


def test_batch_sizes_that_change_a_bit_are_not_used(clip: Path) -> None:
    tower, eyes = tower_of(load_tower(str(clip)), sociable=True, grid=4)
    apart, pixels = ExactBatches(tower), torch.randn(5, 3, 4, 4)
    together = tower.features(pixels)
    alone = torch.cat([tower.features(picture) for picture in pixels.split(1)])
    assert not torch.equal(together, alone)
    assert torch.equal(apart(pixels), alone)
    eyes.calls.clear()
    apart(pixels)
    assert eyes.calls == [1] * 5


def test_partial_vectors_are_detected() -> None:
    """They are rounded by other code: an image's values would depend on its position in the batch."""
    with PartialVectors() as remainders:
        torch.nn.functional.gelu(torch.randn(50, 384))
        torch.randn(3, 5) + torch.randn(3, 5)  # one rounding on any thread
    assert not remainders.found
    for run in (torch.nn.functional.gelu, torch.nn.functional.hardswish, lambda rows: torch.add(rows, rows, alpha=3)):
        with PartialVectors() as remainders:
            run(torch.randn(17, 32))
        assert remainders.found
    assert leaves_partial_vector(torch.empty(128, 3).t()[:, ::2]), "strided"
    maps = torch.empty(2, 64, 8, 8)
    assert not leaves_partial_vector(maps) and not leaves_partial_vector(
        maps.contiguous(memory_format=torch.channels_last)
    ), "both dense"
    threads = torch.get_num_threads()
    try:
        for count, found in ((1, False), (2, False), (3, True), (16, False)):
            torch.set_num_threads(count)
            assert leaves_partial_vector(torch.empty(1024, 128)) == found
        # Most functions share these among 3 threads, 400 vectors each; gelu among all 14.
        torch.set_num_threads(14)
        assert leaves_partial_vector(torch.empty(50, 1536))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("pool", [1, 17])
def test_large_images_are_computed_one_by_one(clip: Path, pool: int) -> None:
    """Their tokens fill a matrix product alone, pooled later or not, and a trial would cost seconds."""
    tower, eyes = tower_of(load_tower(str(clip)), sociable=False, grid=17, pool=pool)
    ExactBatches(tower)(torch.randn(3, 3, 17, 17))
    assert eyes.calls == [1] * 3


def test_convolutions_get_two_images_or_one_image_twice(cnn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = load_tower(str(cnn))
    assert tower.kind == CNN
    calls: list[int] = []
    whole = Tower.features

    def counted(self: Tower, pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        return whole(self, pixels)

    monkeypatch.setattr(Tower, "features", counted)
    side = tower.preprocess.size
    assert len(ExactBatches(tower)(torch.randn(5, 3, side, side))) == 5
    assert set(calls) == {2}


@pytest.mark.parametrize(("rows", "sizes"), [(33, ()), (34, (2,)), (67, (2,)), (68, (4, 2)), (136, (8, 4, 2))])
def test_batch_sizes_depend_on_tokens_per_image(
    monkeypatch: pytest.MonkeyPatch, rows: int, sizes: tuple[int, ...]
) -> None:
    """4 x 4 patches and a class token: 17 tokens per image."""
    monkeypatch.setattr("vlm.vision.exact_batching.MOST_TOKENS", rows)
    monkeypatch.setattr(ExactBatches, "_same", lambda *_: True)
    tower: Any = SimpleNamespace(kind="clip_vision_model", grid=4, leading=1, module=SimpleNamespace(dtype=torch.half))
    assert ExactBatches(tower)._proven(torch.zeros(8, 3, 2, 2)) == sizes
