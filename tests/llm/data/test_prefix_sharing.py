"""Prefix sharing: trees written by hand, and loss and gradient against plain transformers on separate samples."""

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

import llm.data.batch
from llm.attention.interface import use_packed_attention
from llm.attention.layout import Span
from llm.config.schema import TrainConfig
from llm.data.batch import collate, positions_of, spans_of
from llm.data.corpus import Corpus, open_corpus
from llm.data.corpus_writer import ENDS, append
from llm.data.loader import plan_run
from llm.data.memmap_columns import ColumnWriter
from llm.data.prefix_sharing import (
    LEAD,
    LEAST,
    NO_PREFIX,
    common_prefix,
    group_by_key,
    prefix_key,
    share_one_prefix,
    share_prefixes,
    shared_lengths,
)
from llm.encoding.encoder import IGNORED, Sample
from llm.formats.conversation import ImageRef
from llm.forward.text_model import TextModel

IMAGE = ImageRef("a.png")


def _sample(ids: list[int], labels: list[int], images: tuple[ImageRef, ...] = ()) -> Sample:
    return Sample(np.array(ids, np.int32), np.array(labels, np.int32), images)


def _questions() -> list[Sample]:
    return [
        _sample([1, 2, 3, 10, 11], [IGNORED, IGNORED, IGNORED, 11, 20]),
        _sample([1, 2, 3, 12, 13, 14], [IGNORED] * 4 + [14, 21]),
        _sample([1, 2, 3, 12, 15], [IGNORED] * 4 + [22]),
    ]


def test_one_prefix_by_hand() -> None:
    shared = share_one_prefix(_questions())
    assert shared.ids.tolist() == [1, 2, 3, 10, 11, 12, 13, 14, 12, 15]
    assert (shared.branches, shared.parents) == ((3, 5, 8), ())
    assert positions_of(shared).tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 3, 4]
    assert shared.labels.tolist() == [-100, -100, -100, 11, 20, -100, 14, 21, -100, 22]


def test_a_prefix_never_holds_a_target() -> None:
    shared = share_one_prefix([_sample([1, 2, 3], [IGNORED, 3, 4]), _sample([1, 2, 3], [IGNORED, 3, 4])])
    assert shared.branches == (1, 3)
    assert (shared.labels != IGNORED).sum() == 4


def test_samples_with_nothing_in_common_become_branches_without_a_prefix() -> None:
    shared = share_one_prefix([_sample([1, 5], [IGNORED, 3]), _sample([2, 5], [IGNORED, 3])])
    assert (shared.ids.tolist(), shared.branches) == ([1, 5, 2, 5], (0, 2))


def test_rows_of_different_images_are_not_shared() -> None:
    samples = [_sample([1, 77, 5], [IGNORED, IGNORED, 3], (ImageRef(name),)) for name in ("a.png", "b.png", "a.png")]
    shared = share_one_prefix(samples, 77)
    assert (shared.ids.tolist(), shared.branches) == ([1, 77, 5, 77, 5, 77, 5], (1, 3, 5))
    assert [image.path for image in shared.images] == ["a.png", "b.png", "a.png"]


@pytest.fixture(scope="module")
def model() -> TextModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
        max_position_embeddings=128,
    )
    llm = LlamaForCausalLM(config)
    use_packed_attention(llm)
    return TextModel(llm)


def _loss_and_gradient(model: TextModel, packs: list[list[Sample]]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    losses = [model(collate(pack)) for pack in packs]
    torch.stack(losses).sum().backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return float(sum(losses)), gradient.clone()


def _one_by_one(model: TextModel, samples: list[Sample]) -> tuple[float, torch.Tensor]:
    """The same of transformers alone: every sample by itself, its logarithms summed one by one."""
    plain = LlamaForCausalLM._from_config(deepcopy(model.llm.config), attn_implementation="eager")
    plain.load_state_dict(model.llm.state_dict())
    losses = []
    for sample in samples:
        shares = plain(input_ids=torch.from_numpy(sample.ids)[None].long(), use_cache=False).logits[0].log_softmax(-1)
        losses += [-shares[row, label] for row, label in enumerate(sample.labels.tolist()) if label != IGNORED]
    total = torch.stack(losses).sum()
    total.backward()
    return total.item(), torch.cat([parameter.grad.flatten() for parameter in plain.parameters()])


def test_one_prefix_equals_separate_samples(model: TextModel) -> None:
    shared_loss, shared_gradient = _loss_and_gradient(model, [[share_one_prefix(_questions()), _questions()[1]]])
    loss, gradient = _one_by_one(model, [*_questions(), _questions()[1]])
    assert gradient.abs().max() > 0.1
    assert shared_loss == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(shared_gradient, gradient, atol=1e-5)


def test_a_leak_between_branches_changes_the_loss(model: TextModel) -> None:
    """The equality above is not vacuous."""
    shared = share_one_prefix(_questions())
    leaking = Sample(shared.ids, shared.labels)  # one sequence: every branch attends to those before it
    separate, _ = _one_by_one(model, _questions())
    leaked, _ = _loss_and_gradient(model, [[leaking]])
    assert abs(leaked - separate) > 1e-3


def test_common_prefix_by_hand() -> None:
    one, other = np.array([1, 2, 3]), np.array([1, 2, 4, 5])
    assert common_prefix(one, other).tolist() == common_prefix(other, one).tolist() == [1, 2]
    assert common_prefix(one, one).tolist() == [1, 2, 3] and common_prefix(one, other[2:]).tolist() == []
    longer = np.array([1, 2, 3, 4])
    assert common_prefix(one, longer).tolist() == common_prefix(longer, one).tolist() == [1, 2, 3]


def test_equal_keys_are_grouped_and_samples_without_a_key_stay_alone() -> None:
    assert group_by_key([NO_PREFIX, 5, NO_PREFIX, 7, 5, 7]) == [[0], [1, 4], [2], [3, 5]]
    assert group_by_key([]) == []


def _long(length: int, target: int, images: tuple[ImageRef, ...] = (), **ids: int) -> Sample:
    """Tokens 1, 2, 3, ... with other ids at `_<place>`, and one target."""
    tokens = [ids.get(f"_{place}", place + 1) for place in range(length)]
    return _sample(tokens, [9 if place == target else IGNORED for place in range(length)], images)


def test_keys_are_equal_for_the_same_images_and_first_tokens() -> None:
    key = prefix_key(_long(20, 18))
    assert key != NO_PREFIX and key == prefix_key(_long(30, 28)) == prefix_key(_long(20, 18, **{f"_{LEAD}": 99}))
    other = prefix_key(_long(20, 18, **{f"_{LEAD - 1}": 99}))
    assert other not in (key, NO_PREFIX), "the last token of the lead differs"
    assert prefix_key(_long(20, 18, (IMAGE,))) not in (key, NO_PREFIX)
    assert prefix_key(_long(20, 18, (ImageRef("b.png"),))) != prefix_key(_long(20, 18, (IMAGE,)))
    assert prefix_key(_long(20, 18, (IMAGE,))) == prefix_key(_long(20, 18, (ImageRef("a.png"),)))


def test_a_key_covers_all_rows_to_the_last_images_end() -> None:
    """The image's rows, token 77, are at 20 and 21: samples that differ before them get different keys."""
    shown = {"_20": 77, "_21": 77}
    key = prefix_key(_long(26, 24, (IMAGE,), **shown), 77)
    assert key == prefix_key(_long(26, 24, (IMAGE,), **shown, _22=99), 77) != NO_PREFIX
    assert prefix_key(_long(26, 24, (IMAGE,), **shown, _19=99), 77) not in (key, NO_PREFIX)
    assert prefix_key(_long(26, 21, (IMAGE,), **shown), 77) == NO_PREFIX, "a target on the image's own row"


def test_samples_without_a_key() -> None:
    assert prefix_key(_long(20, LEAD)) != NO_PREFIX
    assert prefix_key(_long(20, LEAD - 1)) == NO_PREFIX, "a target within the lead"
    assert prefix_key(_sample([*range(20)], [IGNORED] * 20)) == NO_PREFIX, "no target"
    assert prefix_key(share_one_prefix([_long(20, 18), _long(20, 18, _17=99)])) == NO_PREFIX, "branches already"


def _length_by_hand(samples: list[Sample]) -> int:
    """All rows, those that all samples begin with before any target counted once."""
    openings = [sample.ids[: sample.labels.tolist().index(7)].tolist() for sample in samples]
    shared = 0
    while all(len(ids) > shared and ids[shared] == openings[0][shared] for ids in openings):
        shared += 1
    return sum(len(sample.ids) for sample in samples) - (len(samples) - 1) * shared


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=6))
def test_shared_lengths_as_samples_are_added(parts: list[tuple[int, int, int]]) -> None:
    """Prefixes of different length of one sequence, one of three words, then targets."""
    samples = []
    for prefix, word, targets in parts:
        ids = np.array([*range(prefix), 90 + word, *range(50, 50 + targets)], np.int32)
        labels = np.full(len(ids), IGNORED, np.int32)
        labels[-targets:] = 7
        samples.append(Sample(ids, labels))
    assert [*shared_lengths(samples)] == [_length_by_hand(samples[: n + 1]) for n in range(len(samples))]
    assert len(share_one_prefix(samples).ids) == _length_by_hand(samples)


def test_the_first_target_of_any_sample_ends_the_prefix() -> None:
    early, late = _sample([1, 2, 3], [IGNORED, 3, 4]), _sample([1, 2, 3, 4], [IGNORED, IGNORED, 4, 5])
    assert [*shared_lengths([early, late])] == [3, 6] and [*shared_lengths([late, early])] == [4, 6]
    assert share_one_prefix([early, late]).branches == (1, 3) and share_one_prefix([late, early]).branches == (1, 4)


def _by_key(corpus: Corpus, pack: list[int]) -> list[list[Sample]]:
    groups = group_by_key(corpus.shares[pack].tolist())
    return [[corpus.sample(pack[at]) for at in group] for group in groups]


def test_planning_many_records_under_one_system_prompt_takes_linear_time(tmp_path: Path) -> None:
    """Each sample is read once; comparing all pairs took minutes."""
    draw, prompt = np.random.default_rng(0), np.arange(100, 140, dtype=np.int32)
    with ColumnWriter(tmp_path) as columns:
        ends = dict.fromkeys(ENDS, 0)
        for name in ENDS:
            columns.add_numbers(name, np.zeros(1, np.int64))
        for number in range(6000):
            ids = np.concatenate([prompt, draw.integers(0, 90, draw.integers(5, 60)).astype(np.int32)])
            labels = np.full(len(ids), IGNORED, np.int32)
            labels[-3:] = ids[-3:]
            sample = Sample(ids, labels)
            append(columns, ends, sample, prefix_key(sample))
            columns.add_numbers("weights", np.ones(1))
            columns.add_texts("places", [str(number)])
    (tmp_path / "corpus.json").write_text('{"dropped": [], "sources": [], "warnings": []}')
    corpus = open_corpus(tmp_path)
    began = time.process_time()
    schedule = plan_run(corpus, np.arange(len(corpus)), TrainConfig(batch=256, pack_tokens=2048), seed=0)
    assert time.process_time() - began < 3
    packs = [pack for step in schedule.plans[0].steps for pack in step]
    assert sorted(np.concatenate(packs)) == list(range(6000))
    rows = [sum(len(share_one_prefix(group).ids) for group in _by_key(corpus, pack.tolist())) for pack in packs]
    assert max(rows) <= 2048
    assert sum(rows) < 0.5 * corpus.lengths.sum()


# Trees ----------------------------------------------------------------------------------------------------------------

IMAGE_TOKEN = 77  # the token of an image's rows
CAT, DOG = ImageRef("cat.png"), ImageRef("dog.png")


def question(ids: list[int], answer: list[int], images: tuple[ImageRef, ...] = ()) -> Sample:
    """Prompt and answer; every token of the answer is a target."""
    rows = np.array([*ids, *answer[:-1]], np.int32)
    labels = np.full(len(rows), IGNORED, np.int32)
    labels[len(ids) - 1 :] = answer
    return Sample(rows, labels, images)


def leaves_of(tree: Sample) -> list[tuple[list[int], list[int], list[int], list[ImageRef]]]:
    """Ids, labels, positions and images of every leaf with its ancestors, as attention gathers them."""
    positions, images = positions_of(tree), iter(tree.images)
    image_at = {row: next(images) for row in image_starts(tree.ids, len(tree.images))}
    starts = [0, *tree.branches]
    inner = {0, *tree.parents}
    leaves = [start for number, start in enumerate(starts) if number not in inner]
    found = []
    for span in spans_of(tree, 0):
        if span.start in leaves:
            runs = [*span.before, (span.start, span.length)]
            rows = np.concatenate([np.arange(start, start + length) for start, length in runs])
            targets = tree.labels[rows]
            assert (targets[: -span.length] == IGNORED).all(), "a target in a shared node"
            found.append((
                tree.ids[rows].tolist(), targets.tolist(), positions[rows].tolist(),
                [image_at[row] for row in rows.tolist() if row in image_at],
            ))  # fmt: skip
    return found


def image_starts(ids: NDArray[np.int32], count: int) -> list[int]:
    """First rows of `count` images of equally many rows."""
    rows = np.flatnonzero(ids == IMAGE_TOKEN)
    return rows[:: len(rows) // count].tolist() if count else []


def test_a_tree_by_hand() -> None:
    opening, cat = [1, 2, 3, 4], [IMAGE_TOKEN, IMAGE_TOKEN, 5]
    samples = [
        question([*opening, *cat, 10, 11, 12, 13, 20], [30, 31], (CAT,)),
        question([*opening, *cat, 10, 11, 12, 13, 21], [32], (CAT,)),
        question([*opening, IMAGE_TOKEN, IMAGE_TOKEN, 5, 22], [33], (DOG,)),
        question([*opening, *cat, 23], [34], (CAT,)),
    ]
    tree, places = share_prefixes(samples, IMAGE_TOKEN)
    assert tree.ids.tolist() == [*opening, *cat, 10, 11, 12, 13, 20, 30, 21, 23, IMAGE_TOKEN, IMAGE_TOKEN, 5, 22]
    assert tree.branches == (4, 7, 11, 13, 14, 15) and tree.parents == (0, 1, 2, 2, 1, 0)
    assert tree.images == (CAT, DOG) and places == (0, 1, 3, 2)
    assert positions_of(tree).tolist() == [*range(13), 11, 7, *range(4, 8)]
    assert spans_of(tree, 100)[3:5] == [
        Span(111, 2, ((100, 4), (104, 3), (107, 4))), Span(113, 1, ((100, 4), (104, 3), (107, 4)))
    ]  # fmt: skip
    assert tree.labels[tree.labels != IGNORED].tolist() == [30, 31, 32, 34, 33]


def test_a_prefix_that_saves_fewer_rows_than_least_is_not_shared() -> None:
    short = [question([*range(1, LEAST), 10 + n], [30]) for n in range(2)]
    tree, _ = share_prefixes(short)
    assert (tree.branches, tree.parents) == ((0, LEAST), ()), "no prefix"
    assert len(spans_of(tree, 0)) == 2
    assert share_prefixes(short[:1]) == (short[0], (0,)), "one sample is returned as it is"


def test_a_sample_with_branches_shares_its_prefix_with_others() -> None:
    record = share_one_prefix(
        [question([1, 2, 3, 4, IMAGE_TOKEN, 5, 10 + n], [30 + n], (CAT,)) for n in range(3)], IMAGE_TOKEN
    )
    tree, places = share_prefixes([record, question([1, 2, 3, 4, IMAGE_TOKEN, 5, 14], [40], (DOG,))], IMAGE_TOKEN)
    assert tree.ids.tolist() == [1, 2, 3, 4, IMAGE_TOKEN, 5, 10, 11, 12, IMAGE_TOKEN, 5, 14]
    assert places == (0, 0, 0, 1) and tree.images == (CAT, DOG)


def test_an_image_is_never_cut() -> None:
    """A caption's first word is the target of its image's last row: the image belongs to each branch."""
    samples = [question([1, 2, 3, 4, IMAGE_TOKEN, IMAGE_TOKEN, IMAGE_TOKEN], [30 + n, 31], (CAT,)) for n in range(2)]
    tree, _ = share_prefixes(samples, IMAGE_TOKEN)
    assert tree.ids.tolist() == [1, 2, 3, 4, *[IMAGE_TOKEN] * 3, 30, *[IMAGE_TOKEN] * 3, 31]
    assert tree.images == (CAT, CAT)


PROMPTS = st.lists(st.sampled_from([1, 2, IMAGE_TOKEN]), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PROMPTS, st.integers(1, 3), st.sampled_from([CAT, DOG])), min_size=1, max_size=9))
def test_every_leaf_is_its_sample_and_one_prefix_never_saves_more(parts: list[tuple[list[int], int, ImageRef]]) -> None:
    samples = []
    for number, (prompt, answer, image) in enumerate(parts):
        ids = [token for part in prompt for token in ([IMAGE_TOKEN] * 3 if part == IMAGE_TOKEN else [part])]
        targets = [100 + 10 * number + n for n in range(answer)]
        samples.append(question([*ids, 7], targets, (image,) * prompt.count(IMAGE_TOKEN)))
    tree, places = share_prefixes(samples, IMAGE_TOKEN)
    assert sorted(places) == [*range(len(samples))]
    if len(samples) > 1:
        for place, found in zip(places, leaves_of(tree), strict=True):
            sample = samples[place]
            expected = (sample.ids.tolist(), sample.labels.tolist(), [*range(len(sample.ids))], [*sample.images])
            assert found == expected
    groups = group_by_key([prefix_key(sample, IMAGE_TOKEN) for sample in samples])
    shared = [share_one_prefix([samples[place] for place in group], IMAGE_TOKEN) for group in groups]
    assert len(tree.ids) <= sum(len(sample.ids) for sample in shared)


def test_a_tree_equals_separate_samples(model: TextModel) -> None:
    loss, gradient = _one_by_one(model, nested())
    tree_loss, tree_gradient = _loss_and_gradient(model, [[share_prefixes(nested())[0]]])
    assert tree_loss == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(tree_gradient, gradient, atol=1e-5)


def nested() -> list[Sample]:
    """Two groups under one prefix, the first with a longer prefix of its own below that."""
    first = [[*range(1, 6), *range(20, 26), *range(30, 36), 40 + n] for n in range(3)]
    second = [[*range(1, 6), *range(50, 55), 45 + n] for n in range(2)]
    return [question(ids, [10 + n, 11, 12][: 1 + n % 3]) for n, ids in enumerate([*first, *second])]


def attends_to_its_parents_sibling(spans: list[Span]) -> list[Span]:
    return [Span(span.start, span.length, (*span.before[:-1], (span.start - 1, 1))) if len(span.before) > 1 else span
            for span in spans]  # fmt: skip


def attends_to_its_parent_alone(spans: list[Span]) -> list[Span]:
    return [Span(span.start, span.length, span.before[-1:]) for span in spans]


@pytest.mark.parametrize("damage", [attends_to_its_parents_sibling, attends_to_its_parent_alone])
def test_attention_to_other_rows_changes_the_loss(
    damage: Callable[[list[Span]], list[Span]], model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, _ = _one_by_one(model, nested())

    def damaged(*args: Any) -> list[Span]:
        return damage(spans_of(*args))

    monkeypatch.setattr(llm.data.batch, "spans_of", damaged)
    assert abs(_loss_and_gradient(model, [[share_prefixes(nested())[0]]])[0] / loss - 1) > 1e-4


def test_positions_that_do_not_restart_change_the_loss(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, _ = _one_by_one(model, nested())
    monkeypatch.setattr(llm.data.batch, "positions_of", lambda sample: np.arange(len(sample.ids)))
    assert abs(_loss_and_gradient(model, [[share_prefixes(nested())[0]]])[0] / loss - 1) > 1e-5


def test_a_tree_is_one_batch(model: TextModel) -> None:
    batch = collate([share_prefixes(nested())[0]], (0, 1, 2, 3, 4))
    assert batch.tokens == len(share_prefixes(nested())[0].ids) < sum(len(sample.ids) for sample in nested())
    assert len(batch.targets) == sum(int((sample.labels != IGNORED).sum()) for sample in nested())
