"""Trees of beginnings: by hand, told back sample by sample, and with the loss and gradient of plain transformers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import llm.data.batch
from llm.attention.layout import Span
from llm.data.batch import collate, positions_of, spans_of
from llm.data.prefix_sharing import alike, fold, share_key
from llm.data.prefix_tree import LEAST, grow
from llm.encoding.encoder import IGNORED, Sample
from llm.formats.conversation import ImageRef
from llm.forward.text_model import TextModel
from tests.llm.data.test_prefix_sharing import _loss_and_gradient, _one_by_one, model

__all__ = ["model"]  # the fixture
SLOT = 77  # the token of an image's rows
CAT, DOG = ImageRef("cat.png"), ImageRef("dog.png")


def asked(ids: list[int], answer: list[int], images: tuple[ImageRef, ...] = ()) -> Sample:
    """Prompt and answer; every token of the answer is a target."""
    whole = np.array([*ids, *answer[:-1]], np.int32)
    labels = np.full(len(whole), IGNORED, np.int32)
    labels[len(ids) - 1 :] = answer
    return Sample(whole, labels, images)


def told_back(grown: Sample) -> list[tuple[list[int], list[int], list[int], list[ImageRef]]]:
    """Ids, targets, positions and images of every leaf with all it continues, as attention would see it."""
    positions, images = positions_of(grown), iter(grown.images)
    shown = {row: next(images) for row in image_starts(grown.ids, len(grown.images))}
    starts = [0, *grown.branches]
    inner = {0, *grown.parents}
    leaves = [start for number, start in enumerate(starts) if number not in inner]
    found = []
    for span in spans_of(grown, 0):
        if span.start in leaves:
            runs = [*span.before, (span.start, span.length)]
            rows = np.concatenate([np.arange(start, start + length) for start, length in runs])
            targets = grown.labels[rows]
            assert (targets[: -span.length] == IGNORED).all(), "a target that several would count"
            found.append((
                grown.ids[rows].tolist(), targets.tolist(), positions[rows].tolist(),
                [shown[row] for row in rows.tolist() if row in shown],
            ))  # fmt: skip
    return found


def image_starts(ids: NDArray[np.int32], count: int) -> list[int]:
    """First rows of `count` images of equally many rows."""
    rows = np.flatnonzero(ids == SLOT)
    return rows[:: len(rows) // count].tolist() if count else []


def test_a_tree_by_hand() -> None:
    opening, cat = [1, 2, 3, 4], [SLOT, SLOT, 5]
    samples = [
        asked([*opening, *cat, 10, 11, 12, 13, 20], [30, 31], (CAT,)),
        asked([*opening, *cat, 10, 11, 12, 13, 21], [32], (CAT,)),
        asked([*opening, SLOT, SLOT, 5, 22], [33], (DOG,)),
        asked([*opening, *cat, 23], [34], (CAT,)),
    ]
    grown, places = grow(samples, SLOT)
    assert grown.ids.tolist() == [*opening, *cat, 10, 11, 12, 13, 20, 30, 21, 23, SLOT, SLOT, 5, 22]
    assert grown.branches == (4, 7, 11, 13, 14, 15) and grown.parents == (0, 1, 2, 2, 1, 0)
    assert grown.images == (CAT, DOG) and places == (0, 1, 3, 2)
    assert positions_of(grown).tolist() == [*range(13), 11, 7, *range(4, 8)]
    assert spans_of(grown, 100)[3:5] == [
        Span(111, 2, ((100, 4), (104, 3), (107, 4))), Span(113, 1, ((100, 4), (104, 3), (107, 4)))
    ]  # fmt: skip
    assert grown.labels[grown.labels != IGNORED].tolist() == [30, 31, 32, 34, 33]


def test_what_saves_too_little_is_not_shared_and_one_sample_is_left_alone() -> None:
    short = [asked([*range(1, LEAST), 10 + n], [30]) for n in range(2)]
    grown, _ = grow(short)
    assert grown.branches == (0, LEAST) and grown.parents == (0, 0), "nothing that both begin with"
    assert len(spans_of(grown, 0)) == 2
    assert grow(short[:1]) == (short[0], (0,))


def test_a_folded_record_shares_with_others_and_keeps_its_place() -> None:
    record = fold([asked([1, 2, 3, 4, SLOT, 5, 10 + n], [30 + n], (CAT,)) for n in range(3)])
    grown, places = grow([record, asked([1, 2, 3, 4, SLOT, 5, 14], [40], (DOG,))], SLOT)
    assert grown.ids.tolist() == [1, 2, 3, 4, SLOT, 5, 10, 11, 12, SLOT, 5, 14]
    assert places == (0, 0, 0, 1) and grown.images == (CAT, DOG)


def test_an_image_is_never_cut() -> None:
    """A caption's first word is the target of its image's last row."""
    samples = [asked([1, 2, 3, 4, SLOT, SLOT, SLOT], [30 + n, 31], (CAT,)) for n in range(2)]
    grown, _ = grow(samples, SLOT)
    assert grown.ids.tolist() == [1, 2, 3, 4, SLOT, SLOT, SLOT, 30, SLOT, SLOT, SLOT, 31]
    assert grown.images == (CAT, CAT)


PROMPTS = st.lists(st.sampled_from([1, 2, SLOT]), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PROMPTS, st.integers(1, 3), st.sampled_from([CAT, DOG])), min_size=1, max_size=9))
def test_every_sample_is_told_back_and_no_prefix_shares_more(parts: list[tuple[list[int], int, ImageRef]]) -> None:
    samples = []
    for number, (prompt, answer, image) in enumerate(parts):
        ids = [token for part in prompt for token in ([SLOT] * 3 if part == SLOT else [part])]
        told = [100 + 10 * number + n for n in range(answer)]
        samples.append(asked([*ids, 7], told, (image,) * prompt.count(SLOT)))
    grown, places = grow(samples, SLOT)
    assert sorted(places) == [*range(len(samples))]
    if len(samples) > 1:
        for place, found in zip(places, told_back(grown), strict=True):
            sample = samples[place]
            expected = (sample.ids.tolist(), sample.labels.tolist(), [*range(len(sample.ids))], [*sample.images])
            assert found == expected
    groups = alike([share_key(sample, SLOT) for sample in samples])
    assert len(grown.ids) <= sum(len(fold([samples[place] for place in group]).ids) for group in groups)


def test_a_tree_equals_separate_samples(model: TextModel) -> None:
    loss, gradient = _one_by_one(model, nested())
    grown_loss, grown_gradient = _loss_and_gradient(model, [[grow(nested())[0]]])
    assert grown_loss == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(grown_gradient, gradient, atol=1e-5)


def nested() -> list[Sample]:
    """Under one opening two families, one of them with a beginning of its own below that."""
    first = [[*range(1, 6), *range(20, 26), *range(30, 36), 40 + n] for n in range(3)]
    second = [[*range(1, 6), *range(50, 55), 45 + n] for n in range(2)]
    return [asked(ids, [10 + n, 11, 12][: 1 + n % 3]) for n, ids in enumerate([*first, *second])]


def sees_its_uncle(spans: list[Span]) -> list[Span]:
    return [Span(span.start, span.length, (*span.before[:-1], (span.start - 1, 1))) if len(span.before) > 1 else span
            for span in spans]  # fmt: skip


def sees_its_parent_alone(spans: list[Span]) -> list[Span]:
    return [Span(span.start, span.length, span.before[-1:]) for span in spans]


@pytest.mark.parametrize("damage", [sees_its_uncle, sees_its_parent_alone])
def test_a_branch_that_sees_other_rows_would_show(
    damage: Callable[[list[Span]], list[Span]], model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, _ = _one_by_one(model, nested())

    def damaged(*args: Any) -> list[Span]:
        return damage(spans_of(*args))

    monkeypatch.setattr(llm.data.batch, "spans_of", damaged)
    assert abs(_loss_and_gradient(model, [[grow(nested())[0]]])[0] / loss - 1) > 1e-4


def test_positions_that_run_on_would_show(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, _ = _one_by_one(model, nested())
    monkeypatch.setattr(llm.data.batch, "positions_of", lambda sample: np.arange(len(sample.ids)))
    assert abs(_loss_and_gradient(model, [[grow(nested())[0]]])[0] / loss - 1) > 1e-5


def test_a_tree_is_one_batch(model: TextModel) -> None:
    batch = collate([grow(nested())[0]], (0, 1, 2, 3, 4))
    assert batch.tokens == len(grow(nested())[0].ids) < sum(len(sample.ids) for sample in nested())
    assert len(batch.targets) == sum(int((sample.labels != IGNORED).sum()) for sample in nested())
