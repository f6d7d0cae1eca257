"""Folding: hand-written prefixes, and the loss and gradient of folded questions are those of plain transformers."""

import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from llm.attention.interface import use_packed_attention
from llm.config.schema import TrainConfig
from llm.data.batch import collate, positions_of
from llm.data.corpus import open_corpus
from llm.data.corpus_writer import ENDS, append
from llm.data.loader import plan_run
from llm.data.memmap_columns import Columns
from llm.data.prefix_sharing import ALONE, LEAD, alike, alike_until, fold, folded_lengths, share_key, split_turns
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message
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


def test_fold_by_hand() -> None:
    folded = fold(_questions())
    assert folded.ids.tolist() == [1, 2, 3, 10, 11, 12, 13, 14, 12, 15]
    assert folded.branches == (3, 5, 8)
    assert positions_of(folded).tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 3, 4]
    assert folded.labels.tolist() == [-100, -100, -100, 11, 20, -100, 14, 21, -100, 22]


def test_a_prefix_never_holds_a_target() -> None:
    same = [_sample([1, 2, 3], [IGNORED, 3, 4]), _sample([1, 2, 3], [IGNORED, 3, 4])]
    folded = fold(same)
    assert folded.branches == (1, 3)
    assert (folded.labels != IGNORED).sum() == 4


def test_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="different images"):
        fold([_sample([1, 2], [IGNORED, 3], (IMAGE,)), _sample([1, 2], [IGNORED, 3])])


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


def test_folded_equals_separate(model: TextModel) -> None:
    folded_loss, folded_gradient = _loss_and_gradient(model, [[fold(_questions()), _questions()[1]]])
    loss, gradient = _one_by_one(model, [*_questions(), _questions()[1]])
    assert gradient.abs().max() > 0.1
    assert folded_loss == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(folded_gradient, gradient, atol=1e-5)


def test_the_comparison_sees_a_leak(model: TextModel) -> None:
    """A branch that saw its neighbour would change the loss: the equality above is not vacuous."""
    folded = fold(_questions())
    leaking = Sample(folded.ids, folded.labels)  # one plain sequence: every branch sees those before it
    separate, _ = _one_by_one(model, _questions())
    leaked, _ = _loss_and_gradient(model, [[leaking]])
    assert abs(leaked - separate) > 1e-3


def _record(*questions: tuple[str | ImageRef, ...]) -> Conversation:
    messages: list[Message] = [Message("system", ("S",))]
    for parts in questions:
        messages += [Message("user", parts), Message("assistant", ("a",))]
    return Conversation(tuple(messages), Place("f.json", 3))


def test_turns_apart_repeat_system_and_images() -> None:
    apart = split_turns(_record((IMAGE, "\nfirst?"), ("second?",)))
    assert [conversation.messages[1].parts for conversation in apart] == [
        (IMAGE, "\nfirst?"),
        (IMAGE, "second?"),
    ]
    assert all(conversation.messages[0].text == "S" and len(conversation.messages) == 3 for conversation in apart)


def test_images_elsewhere_are_refused() -> None:
    for first in (("first?",), ("first ", IMAGE)):
        with pytest.raises(RecordError, match="f.json:3: .*data.turns is apart, but images stand behind the start"):
            split_turns(_record(first, (IMAGE, "second?")))


def test_white_space_between_leading_images_is_left_out() -> None:
    other = ImageRef("b.png")
    apart = split_turns(_record((IMAGE, " \n", other, "\nfirst?"), ("second?",)))
    assert apart[1].messages[1].parts == (IMAGE, other, "second?")


def test_questions_whose_answer_carries_no_loss_are_left_out_and_single_ones_are_left_alone() -> None:
    first, second = Message("user", ("1?",)), Message("user", ("2?",))
    untrained, trained = Message("assistant", ("a",), loss=False), Message("assistant", ("b",))
    (only,) = split_turns(Conversation((first, untrained, second, trained), Place("f.json")))
    assert only.messages == (second, trained)
    for whole in (_record(("what is ", IMAGE)), Conversation((trained,), Place("f.json"))):
        assert split_turns(whole) == [whole]


def test_what_two_sequences_begin_with() -> None:
    one, other = np.array([1, 2, 3]), np.array([1, 2, 4, 5])
    assert alike_until(one, other).tolist() == alike_until(other, one).tolist() == [1, 2]
    assert alike_until(one, one).tolist() == [1, 2, 3] and alike_until(one, other[2:]).tolist() == []
    longer = np.array([1, 2, 3, 4])
    assert alike_until(one, longer).tolist() == alike_until(longer, one).tolist() == [1, 2, 3]


def test_equal_keys_stand_together_and_who_shares_with_nobody_stays_alone() -> None:
    assert alike([ALONE, 5, ALONE, 7, 5, 7]) == [[0], [1, 4], [2], [3, 5]]
    assert alike([]) == []


def _long(length: int, target: int, images: tuple[ImageRef, ...] = (), **ids: int) -> Sample:
    """Tokens 1, 2, 3, ... with other ids at `_<place>`, and one target."""
    tokens = [ids.get(f"_{place}", place + 1) for place in range(length)]
    return _sample(tokens, [9 if place == target else IGNORED for place in range(length)], images)


def test_keys_are_equal_for_the_same_images_and_beginning() -> None:
    key = share_key(_long(20, 18))
    assert key != ALONE and key == share_key(_long(30, 28)) == share_key(_long(20, 18, **{f"_{LEAD}": 99}))
    assert share_key(_long(20, 18, **{f"_{LEAD - 1}": 99})) not in (key, ALONE), "the last token of the lead differs"
    assert share_key(_long(20, 18, (IMAGE,))) not in (key, ALONE)
    assert share_key(_long(20, 18, (ImageRef("b.png"),))) != share_key(_long(20, 18, (IMAGE,)))
    assert share_key(_long(20, 18, (IMAGE,))) == share_key(_long(20, 18, (ImageRef("a.png"),)))


def test_the_beginning_reaches_to_the_last_images_end() -> None:
    """Rows of an image, token 77, at places 20 and 21: what stands before them must be alike, whatever the lead."""
    shown = {"_20": 77, "_21": 77}
    key = share_key(_long(26, 24, (IMAGE,), **shown), 77)
    assert key == share_key(_long(26, 24, (IMAGE,), **shown, _22=99), 77) != ALONE
    assert share_key(_long(26, 24, (IMAGE,), **shown, _19=99), 77) not in (key, ALONE)
    assert share_key(_long(26, 21, (IMAGE,), **shown), 77) == ALONE, "a target on the image's own row"


def test_who_shares_with_nobody() -> None:
    assert share_key(_long(20, LEAD)) != ALONE and share_key(_long(20, LEAD - 1)) == ALONE, "a target within the lead"
    assert share_key(_sample([*range(20)], [IGNORED] * 20)) == ALONE, "no target"
    assert share_key(fold([_long(20, 18), _long(20, 18, _17=99)])) == ALONE, "folded already"


def _folded_length(samples: list[Sample]) -> int:
    """All rows, less what all begin with before any target, counted once."""
    openings = [sample.ids[: sample.labels.tolist().index(7)].tolist() for sample in samples]
    shared = 0
    while all(len(ids) > shared and ids[shared] == openings[0][shared] for ids in openings):
        shared += 1
    return sum(len(sample.ids) for sample in samples) - (len(samples) - 1) * shared


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=6))
def test_lengths_are_known_as_each_sample_joins(parts: list[tuple[int, int, int]]) -> None:
    """Same openings cut at different places, sometimes another word, then targets."""
    samples = []
    for opening, word, targets in parts:
        ids = np.array([*range(opening), 90 + word, *range(50, 50 + targets)], np.int32)
        labels = np.full(len(ids), IGNORED, np.int32)
        labels[-targets:] = 7
        samples.append(Sample(ids, labels))
    assert [*folded_lengths(samples)] == [_folded_length(samples[: n + 1]) for n in range(len(samples))]
    assert len(fold(samples).ids) == _folded_length(samples)


def test_a_target_ends_what_is_shared_whoever_has_it() -> None:
    early, late = _sample([1, 2, 3], [IGNORED, 3, 4]), _sample([1, 2, 3, 4], [IGNORED, IGNORED, 4, 5])
    assert [*folded_lengths([early, late])] == [3, 6] and [*folded_lengths([late, early])] == [4, 6]
    assert fold([early, late]).branches == (1, 3) and fold([late, early]).branches == (1, 4)


def test_many_records_under_one_system_prompt_are_planned_in_no_time(tmp_path: Path) -> None:
    """Every sample is looked at once; comparing all with all took minutes."""
    draw, prompt = np.random.default_rng(0), np.arange(100, 140, dtype=np.int32)
    with Columns(tmp_path) as columns:
        ends = dict.fromkeys(ENDS, 0)
        for name in ENDS:
            columns.numbers(name, np.zeros(1, np.int64))
        for number in range(6000):
            ids = np.concatenate([prompt, draw.integers(0, 90, draw.integers(5, 60)).astype(np.int32)])
            labels = np.full(len(ids), IGNORED, np.int32)
            labels[-3:] = ids[-3:]
            sample = Sample(ids, labels)
            append(columns, ends, sample, share_key(sample))
            columns.numbers("weights", np.ones(1))
            columns.texts("places", [str(number)])
    (tmp_path / "corpus.json").write_text('{"dropped": [], "sources": []}')
    corpus = open_corpus(tmp_path)
    began = time.process_time()
    schedule = plan_run(corpus, np.arange(len(corpus)), TrainConfig(batch=256, pack_tokens=2048), seed=0)
    assert time.process_time() - began < 3
    packs = [pack for step in schedule.plans[0].steps for pack in step]
    assert sorted(np.concatenate(packs)) == list(range(6000))
    rows = [sum(len(sample.ids) for sample in corpus.folded(pack.tolist())) for pack in packs]
    assert max(rows) <= 2048
    assert sum(rows) < 0.5 * corpus.lengths.sum()
