"""Which samples are held out: groups that share an image or a text stay whole, and training keeps one."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm.data.hold_out import hold_out
from llm.errors import DataError


@dataclass(frozen=True)
class FakeCorpus:
    """What `hold_out` reads of a corpus: each sample's images; its key is its first image, or its own number."""

    images: list[list[str]]
    keys: NDArray[np.uint64] = field(init=False)

    def __post_init__(self) -> None:
        names = [images[0] if images else f"text {number}" for number, images in enumerate(self.images)]
        keys = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in names]
        object.__setattr__(self, "keys", np.array(keys, np.uint64))

    @property
    def image_counts(self) -> NDArray[np.int64]:
        return np.array([len(images) for images in self.images])

    def __len__(self) -> int:
        return len(self.images)


def sides(images: list[list[str]], share: float, seed: int = 0) -> tuple[list[int], list[int]]:
    corpus: Any = FakeCorpus(images)
    chosen, held = hold_out(corpus, share, seed)
    assert sorted([*chosen, *held]) == list(range(len(images)))
    return chosen.tolist(), held.tolist()


def texts(count: int) -> list[list[str]]:
    return [[] for _ in range(count)]


DATA = st.lists(st.lists(st.sampled_from([f"{n}.png" for n in range(9)]), max_size=3), min_size=1, max_size=14)


@given(images=DATA, share=st.sampled_from([0.001, 0.1, 0.5, 0.9, 0.999]), seed=st.integers(0, 5))
def test_no_image_is_on_both_sides_and_no_side_is_empty(images: list[list[str]], share: float, seed: int) -> None:
    groups: list[set[str]] = []
    for number, names in enumerate(images):  # merged one by one, the slow way
        joined = set(names) or {f"text {number}"}
        joined = joined.union(*(group for group in groups if group & joined))
        groups = [*(group for group in groups if not group & joined), joined]
    if len(groups) == 1:
        with pytest.raises(DataError, match="data.validation: "):
            sides(images, share, seed)
        return
    chosen, held = sides(images, share, seed)
    assert chosen and held
    assert not {name for at in chosen for name in images[at]} & {name for at in held for name in images[at]}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_one_record_is_refused_in_words(share: float) -> None:
    for images in (texts(1), [["a.png"]], [["a.png", "b.png"]]):
        with pytest.raises(DataError) as caught:
            sides(images, share)
        assert str(caught.value) == (
            f"data.validation: {share:g}: the data is a single sample, which is needed for training. "
            "Set data.validation: 0, or name data.validation_sources"
        )


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_hundred_records_of_one_image_are_refused_in_words(share: float) -> None:
    with pytest.raises(DataError, match="all 100 samples share images, .* or add records with other images"):
        sides([["a.png"]] * 100, share)
    with pytest.raises(DataError, match="all 4 samples share images"):
        sides([["a.png"], ["a.png", "b.png"], ["c.png", "b.png"], ["c.png"]], share)


def test_the_same_text_a_hundred_times_is_one_group() -> None:
    corpus: Any = FakeCorpus(texts(100))
    corpus.keys[:] = 7
    with pytest.raises(DataError, match="all 100 samples share the same text, .* or add records with other texts"):
        hold_out(corpus, 0.1, 0)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("seed", range(6))
def test_two_and_three_records_leave_one_on_each_side(share: float, seed: int) -> None:
    assert sorted(map(len, sides(texts(2), share, seed))) == [1, 1]
    chosen, held = sides(texts(3), share, seed)
    assert len(chosen) >= (2 if share < 0.5 else 1) and len(held) >= (2 if share > 0.5 else 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_smaller_share_never_has_the_more_records(seed: int) -> None:
    """98 records of one image and two others: without sizes, one draw in ten would hold the 98 out."""
    images = [["a.png"]] * 98 + [["b.png"], ["c.png"]]
    _, held = sides(images, 0.1, seed)
    assert len(held) in (1, 2)
    _, held = sides(images, 0.9, seed)
    assert len(held) in (98, 99)


def test_a_share_that_groups_miss_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    images = [[f"{number // 20}.png"] for number in range(100)]
    with caplog.at_level("WARNING", "eyegraft"):
        _, held = sides(images, 0.02)
    assert len(held) == 20
    assert "data.validation: 0.02 holds out 20 of 100 samples" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING", "eyegraft"):
        sides(texts(1000), 0.1)
    assert not caplog.text


def test_ordinary_data_is_drawn_as_before() -> None:
    """By hash alone, so that runs begun before continue with the same records."""
    images = [[f"{number // 3}.png"] for number in range(300)]
    corpus = FakeCorpus(images)
    drawn = [
        int.from_bytes(hashlib.sha256(f"5:{key}".encode()).digest()[:8], "big") < 0.2 * 2**64
        for key in corpus.keys.tolist()
    ]
    _, held = sides(images, 0.2, 5)
    assert held == [number for number, one in enumerate(drawn) if one] and 30 < len(held) < 90
