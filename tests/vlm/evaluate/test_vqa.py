"""Accuracy on image questions by hand: images shown, deduplication, packing and metrics."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from llm.config.schema import Source
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import DataError
from llm.formats.conversation import Conversation, ImageRef
from vlm.config import VqaEval
from vlm.evaluate import vqa
from vlm.evaluate.vqa import (
    Pass,
    VqaQuestion,
    _deduplicated,
    _mean,
    _packs,
    _shown_images,
    evaluate_vqa,
    read_questions,
    score,
)

A, B, C, D, E = (ImageRef(f"/{name}.png") for name in "abcde")


def sample(image: ImageRef, *ids: int, learnt: int = 1) -> Sample:
    """Ids of which the last `learnt` are targets; labels are shifted by one position."""
    labels = [IGNORED] * (len(ids) - 1 - learnt) + [*ids[len(ids) - learnt :], IGNORED]
    return Sample(np.array(ids, np.int32), np.array(labels, np.int32), (image,))


# Which image --------------------------------------------------------------------------------------------------------


def test_each_question_is_shown_its_own_image(tmp_path: Path) -> None:
    assert _shown_images([B, A, B], "right", tmp_path) == {A: A, B: B}
    assert list(tmp_path.iterdir()) == []


def test_a_blank_image_is_white_and_the_same_for_all(tmp_path: Path) -> None:
    blank = ImageRef(str(tmp_path / "blank.png"))
    assert _shown_images([A, B, A], "blank", tmp_path) == {A: blank, B: blank}
    with Image.open(blank.path) as picture:
        assert (picture.size, picture.mode, picture.getcolors()) == ((64, 64), "RGB", [(4096, (255, 255, 255))])


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        ([A, B], {A: B, B: A}),
        ([B, A, A, B], {B: A, A: B}),
        ([A, B, C], {A: C, B: A, C: B}),
        ([A, B, C, D], {A: C, B: D, C: A, D: B}),
        ([A, A, B, C, D, E], {A: D, B: E, C: A, D: B, E: C}),
    ],
)
def test_the_other_image_is_half_the_list_away(images: list[ImageRef], shown: dict[ImageRef, ImageRef]) -> None:
    assert _shown_images(images, "shuffled", Path()) == shown


@pytest.mark.parametrize("images", [[], [A], [A, A, A]])
def test_a_single_image_has_no_other(images: list[ImageRef]) -> None:
    with pytest.raises(DataError, match="another record's image needs questions about at least two images"):
        _shown_images(images, "shuffled", Path())


# What is asked once, and what together --------------------------------------------------------------------------------


def test_equal_samples_are_scored_once() -> None:
    one = sample(A, 1, 2, 3)
    others = [sample(B, 1, 2, 3), sample(A, 1, 2, 4), sample(A, 1, 2, 3, learnt=2)]
    found = _deduplicated([one, others[0], sample(A, 1, 2, 3), others[1], others[2], sample(A, 1, 2, 3)])
    assert [indices for _, indices in found] == [[0, 2, 5], [1], [3], [4]]
    assert [kept for kept, _ in found] == [one, *others]
    assert _deduplicated([]) == []


def test_samples_of_an_image_share_a_pack_up_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two samples about one image share their first two tokens: 4 + 4 - 2 tokens, not 8."""
    monkeypatch.setattr(vqa, "PACK_TOKENS", 10)
    first, second = sample(A, 1, 2, 3, 4), sample(A, 1, 2, 5, 6)
    four = sample(B, 7, 8, 9, 9)
    assert list(_packs([first, four, second])) == [[0, 2, 1]], "6 + 4 rows are ten"
    assert list(_packs([first, sample(B, *range(5)), second])) == [[0, 2], [1]], "6 + 5 are eleven"
    assert list(_packs([four, sample(C, *range(6)), sample(D, 1, 2)])) == [[0, 1], [2]]
    assert list(_packs([sample(A, *range(99)), sample(B, 1, 2)])) == [[0], [1]], "what is too large stands alone"
    assert list(_packs([])) == []


# Scores ---------------------------------------------------------------------------------------------------------------


class Model:
    """Writes after each token the next number, except after those in `wrong`: there it writes 0."""

    device, feature_cache = torch.device("cpu"), "features"
    vision = SimpleNamespace(image_id=99, preprocess="shaping", image_tokens=1)

    def __init__(self, *wrong: int) -> None:
        self.wrong, self.evaluated, self.shown = wrong, False, list[ImageRef]()
        self.packs: list[set[str]] = []  # the images of each

    def eval(self) -> None:
        self.evaluated = True

    def logits(self, batch: Any) -> torch.Tensor:
        assert self.evaluated and not torch.is_grad_enabled()
        self.shown += batch.shown
        self.packs.append({Path(image.path).name for image in batch.shown})
        writes = [0 if token in self.wrong else token + 1 for token in batch.before]
        return torch.eye(99)[writes]


class Batch:
    """What `Model` needs of a batch: the tokens before the targets, and the targets."""

    def __init__(self, samples: list[Sample], preprocess: str, image_id: int, image_tokens: int, cache: str) -> None:
        assert (preprocess, image_id, image_tokens, cache) == ("shaping", 99, 1, "features")
        (grown,) = samples
        learnt = grown.labels != IGNORED
        self.before, self.shown = grown.ids[learnt].tolist(), list(grown.images)
        self.text = SimpleNamespace(targets=torch.tensor(grown.labels[learnt]).long())

    def to(self, _: object) -> "Batch":
        return self


@pytest.fixture
def questions() -> list[VqaQuestion]:
    """Answers of one and two tokens that count on from the question; the last asks what the first asked."""
    made = [
        sample(A, 99, 10, 11, 12, learnt=2),
        sample(A, 99, 20, 21),
        sample(B, 99, 30, 31, 32, learnt=2),
        sample(B, 99, 40, 77),
        sample(A, 99, 10, 11, 12, learnt=2),
    ]
    return [VqaQuestion(one, "open") for one in made]


@pytest.mark.parametrize(
    ("wrong", "exact"),
    [
        ((), [True, True, True, False, True]),
        ((10,), [False, True, True, False, False]),
        ((11,), [False, True, True, False, False]),
        ((12,), [True, True, True, False, True]),
        ((20, 31), [True, False, False, False, True]),
    ],
)
@pytest.mark.parametrize("budget", [1, 8, 1536])
def test_an_answer_is_exact_when_every_token_of_it_is(
    questions: list[VqaQuestion],
    wrong: tuple[int, ...],
    exact: list[bool],
    budget: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vqa, "PACK_TOKENS", budget)
    monkeypatch.setattr(vqa, "collate_vlm", Batch)
    model: Any = Model(*wrong)
    assert [found.tolist() for found in score(model, [(questions, "right")], Path())] == [exact]
    assert {image.path for image in model.shown} == {"/a.png", "/b.png"}


def test_a_score_is_about_the_image_that_was_shown(
    questions: list[VqaQuestion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vqa, "collate_vlm", Batch)
    model: Any = Model()
    [found] = score(model, [(questions, "blank")], tmp_path)
    assert found.tolist() == [True, True, True, False, True]
    assert {image.path for image in model.shown} == {str(tmp_path / "blank.png")}
    assert [one.tolist() for one in score(model, [([], "right")], tmp_path)] == [[]]


def test_passes_are_read_together(
    questions: list[VqaQuestion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image is in one pack, for its own questions and for those of the other record."""
    monkeypatch.setattr(vqa, "collate_vlm", Batch)
    monkeypatch.setattr(vqa, "PACK_TOKENS", 1)
    model: Any = Model(30)
    found = score(model, [(questions, "right"), (questions[:3], "shuffled"), (questions, "blank")], tmp_path)
    assert [one.tolist() for one in found] == [
        [True, True, False, False, True],
        [True, True, False],
        [True, True, False, False, True],
    ]
    assert model.packs == [{"a.png"}, {"b.png"}, {"blank.png"}]


# Figures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "mean"), [([0], 0.0), ([1], 1.0), ([1, 0, 0], 0.3333), ([1, 1, 0], 0.6667), ([1] * 9, 1.0)]
)
def test_accuracies_are_rounded_to_four_digits(values: list[int], mean: float) -> None:
    assert _mean(np.array(values, bool)) == mean


@pytest.mark.parametrize(
    ("controls", "few"),
    [
        (0, {"blank_image_accuracy": 0.4, "shuffled_image_accuracy": 0.8, "shuffled_open_accuracy": 0.6667}),
        (3, {"blank_image_accuracy": 0.6667, "shuffled_image_accuracy": 0.6667, "shuffled_open_accuracy": 0.5}),
        (9, {"blank_image_accuracy": 0.4, "shuffled_image_accuracy": 0.8, "shuffled_open_accuracy": 0.6667}),
    ],
)
def test_figures_by_hand(controls: int, few: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["open", "yes_no", "open", "open", "yes_no"]
    asked: Any = [VqaQuestion(sample(image, 1, 2), kind) for image, kind in zip([A, B, A, B, A], kinds, strict=True)]
    hits = {"right": [1, 0, 0, 1, 1], "blank": [1, 0, 1, 0, 0], "shuffled": [0, 1, 1, 1, 1]}

    def scored(model: object, passes: list[Pass], folder: Path, encoder: object) -> Any:
        assert (model, folder) == ("model", Path("out"))
        return [np.array(hits[shown][: len(questions)], bool) for questions, shown in passes]

    monkeypatch.setattr(vqa, "score", scored)
    monkeypatch.setattr(vqa, "read_questions", lambda *_: (asked, 0))
    plan = VqaEval(source=Source(path="q.json"), controls=controls)
    model: Any = "model"
    assert evaluate_vqa(model, model, plan, Path("out"), Path()) == {
        "vqa_questions": 5,
        "vqa_accuracy": 0.6,
        "vqa_open_accuracy": 0.6667,
        "vqa_yes_no_accuracy": 0.5,
        **few,
    }


@pytest.mark.parametrize(
    ("kinds", "images", "keys"),
    [
        (["yes_no"], [A], {"vqa_yes_no_accuracy"}),
        (["open", "open"], [A, A], {"vqa_open_accuracy"}),
        (["open", "open"], [A, B], {"vqa_open_accuracy", "shuffled_image_accuracy", "shuffled_open_accuracy"}),
        (["yes_no", "yes_no"], [A, B], {"vqa_yes_no_accuracy", "shuffled_image_accuracy"}),
    ],
)
def test_what_is_not_there_has_no_figure(
    kinds: list[Any], images: list[ImageRef], keys: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vqa, "score", lambda model, passes, *_: [np.ones(len(asked), bool) for asked, _ in passes])
    asked = [VqaQuestion(sample(image, 1, 2), kind) for image, kind in zip(images, kinds, strict=True)]
    monkeypatch.setattr(vqa, "read_questions", lambda *_: (asked, 0))
    model: Any = None
    figures = evaluate_vqa(model, model, VqaEval(source=Source(path="q.json")), Path(), Path())
    assert figures.keys() == {"vqa_questions", "vqa_accuracy", "blank_image_accuracy"} | keys
    assert figures.pop("vqa_questions") == len(kinds)
    assert set(figures.values()) == {1.0}


# Questions ------------------------------------------------------------------------------------------------------------


class Encoding:
    """An encoder that keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[Conversation] = []

    def encode(self, conversation: Conversation) -> list[int]:
        self.given.append(conversation)
        return [len(self.given)]


def rows(folder: Path, *answers: str, **more: object) -> VqaEval:
    turns = [[{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": answer}] for answer in answers]
    said = [{"image": f"{number}.png", "conversations": one} for number, one in enumerate(turns)]
    (folder / "q.json").write_text(json.dumps(said))
    return VqaEval.model_validate({"source": {"path": "q.json"}} | more)


def test_yes_and_no_are_one_kind_and_all_else_is_open(tmp_path: Path) -> None:
    answers = {
        "yes": "yes_no",
        "no": "yes_no",
        " Yes\n": "yes_no",
        "NO": "yes_no",
        "yes.": "open",
        "not": "open",
        "red": "open",
        "yes no": "open",
    }
    encoder: Any = Encoding()
    found: list[Any]
    found, _ = read_questions(rows(tmp_path, *answers), encoder, tmp_path)
    assert [question.kind for question in found] == list(answers.values())
    samples: list[Any] = [question.sample for question in found]
    assert samples == list(range(1, 9))
    (row, *_) = json.loads((tmp_path / "q.json").read_text())
    (tmp_path / "q.json").write_text(json.dumps([row | {"system": "no"}]))
    (found, _) = read_questions(VqaEval(source=Source(path="q.json")), encoder, tmp_path)
    assert [question.kind for question in found] == ["yes_no"], "its answer counts, wherever it is"
    encoder.given.pop()
    assert [one.images for one in encoder.given] == [(ImageRef(str(tmp_path / f"{n}.png")),) for n in range(8)]


@pytest.mark.parametrize(("limit", "count"), [(0, 3), (1, 1), (2, 2), (3, 3), (4, 3)])
def test_a_limit_ends_the_reading(tmp_path: Path, limit: int, count: int) -> None:
    encoder: Any = Encoding()
    assert len(read_questions(rows(tmp_path, "a", "b", "c", limit=limit), encoder, tmp_path)[0]) == count
    assert len(encoder.given) == count


def turns_of(conversation: Conversation) -> list[tuple[str, str, bool]]:
    return [(message.role, message.text.strip(), message.loss) for message in conversation.messages]


README_FORM = {
    "image": "0.png",
    "system": "S",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "It is Iris."},
        {"from": "human", "value": "Is it red?"},
        {"from": "gpt", "value": "yes"},
    ],
}


def test_every_answer_of_a_record_is_asked_for_after_the_turns_before_it(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text(json.dumps([README_FORM]))
    plan, encoder = VqaEval(source=Source(path="q.json")), Encoding()
    any_encoder: Any = encoder
    found, left_out = read_questions(plan, any_encoder, tmp_path)
    assert [question.kind for question in found] == ["open", "yes_no"] and left_out == 0
    first = [("system", "S", True), ("user", "What is it?", True)]
    assert [turns_of(one) for one in encoder.given] == [
        [*first, ("assistant", "It is Iris.", True)],
        [*first, ("assistant", "It is Iris.", False), ("user", "Is it red?", True), ("assistant", "yes", True)],
    ]
    encoder.given.clear()
    read_questions(plan, any_encoder, tmp_path, "apart")
    assert [turns_of(one) for one in encoder.given] == [
        [*first, ("assistant", "It is Iris.", True)],
        [("system", "S", True), ("user", "Is it red?", True), ("assistant", "yes", True)],
    ]
    assert [len(one.images) for one in encoder.given] == [1, 1]


def test_answers_without_a_single_image_are_counted_and_left_out(tmp_path: Path) -> None:
    plan, encoder = rows(tmp_path, "a"), Encoding()
    (row,) = json.loads((tmp_path / "q.json").read_text())
    any_encoder: Any = encoder
    plain = [{"from": "human", "value": "Q"}, row["conversations"][1]]
    two = {"image": ["0.png"] * 2, "conversations": [{"from": "human", "value": "<image><image>"}, plain[1]]}
    (tmp_path / "q.json").write_text(json.dumps([row, {"conversations": plain * 2}, two]))
    found, left_out = read_questions(plan, any_encoder, tmp_path)
    assert (len(found), left_out) == (1, 3)
    (tmp_path / "q.json").write_text(json.dumps([two]))
    with pytest.raises(DataError, match="none of its 1 answers belongs to a question about one image"):
        evaluate_vqa(any_encoder, any_encoder, plan, tmp_path, tmp_path)
