"""easy-VQA as LLaVA JSON: questions grouped by image for stage 2, captions and open questions for stage 1."""

import json
import random
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_tools.rows.json_array import write_array
from llm.errors import AssetError

SHAPES = frozenset({"circle", "rectangle", "triangle"})
COLOURS = frozenset({"black", "blue", "brown", "gray", "green", "red", "teal", "yellow"})
SEED = 0
LlavaRecord = dict[str, object]


class QuestionRow(NamedTuple):
    """One row of questions.json."""

    text: str
    answer: str
    image: int

    @property
    def kind(self) -> str:
        """`yes_no` or `open`, by the answer."""
        return "yes_no" if self.answer in ("yes", "no") else "open"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the questions about an image state; empty where they do not."""

    colour: str = ""
    shape: str = ""

    @property
    def caption(self) -> str:
        """`a blue rectangle`, `a blue shape`, `a rectangle`, or empty."""
        words = [self.colour, self.shape or "shape"] if self.colour else [self.shape]
        return "a " + " ".join(words) if words[0] else ""


def build_easy_vqa(wheel: Path, target: Path) -> None:
    """Copy the images and write four JSON files; their image paths are relative to `target`."""
    data = wheel / "easy_vqa" / "data"
    questions = {split: read_questions(data / split / "questions.json") for split in ("train", "test")}
    for split in questions:
        shutil.copytree(data / split / "images", target / split / "images", ignore=_not_png)
    write_records(target / "train.json", turns_by_image(questions["train"], SEED))
    write_records(target / "captions.json", captions(questions["train"]))
    write_records(target / "open_questions.json", single_questions("train", questions["train"], {"open"}))
    write_records(target / "test_questions.json", single_questions("test", questions["test"], {"open", "yes_no"}))


def read_questions(path: Path) -> list[QuestionRow]:
    """The rows `[question, answer, image id]` of one split."""
    if not path.is_file():
        raise AssetError(f"easy_vqa: the wheel has no {path.name}. Delete the wheel in downloads/ and run again")
    return [QuestionRow(text, answer, image) for text, answer, image in json.loads(path.read_text(encoding="utf-8"))]


def by_image(questions: Iterable[QuestionRow]) -> dict[int, list[QuestionRow]]:
    """Questions grouped by image, images in ascending order."""
    groups: dict[int, list[QuestionRow]] = {}
    for question in questions:
        groups.setdefault(question.image, []).append(question)
    return dict(sorted(groups.items()))


def turns_by_image(questions: Iterable[QuestionRow], seed: int) -> Iterator[LlavaRecord]:
    """One record an image, its questions as turns in a random order; in the published order open ones come first."""
    for image, group in by_image(questions).items():
        turns = [(question.text, question.answer) for question in shuffled(group, image, seed)]
        yield _record("train", f"train-{image}", image, turns)


def shuffled(group: Iterable[QuestionRow], image: int, seed: int) -> list[QuestionRow]:
    """The questions of an image, shuffled by (seed, image)."""
    order = list(group)
    random.Random(f"{seed}-{image}").shuffle(order)
    return order


def captions(questions: Iterable[QuestionRow]) -> Iterator[LlavaRecord]:
    """One caption an image, from what its questions state; images without a stated fact are left out."""
    for image, group in by_image(questions).items():
        caption = facts_of(group).caption
        if caption:
            yield _record("train", f"train-{image}-caption", image, [("", caption)])


def single_questions(split: str, questions: Iterable[QuestionRow], kinds: set[str]) -> Iterator[LlavaRecord]:
    """One record a question of the given kinds, with its kind as `type`."""
    for group in by_image(questions).values():
        for number, question in enumerate(group):
            if question.kind in kinds:
                name = f"{split}-{question.image}-{number}-{question.kind}"
                record = _record(split, name, question.image, [(question.text, question.answer)])
                yield record | {"type": question.kind}


def facts_of(questions: Iterable[QuestionRow]) -> Facts:
    """The colour and shape that the questions of one image state.

    Facts are the answer of an open question and what it presupposes ("what color is the circle?"), and what a yes/no
    question affirms: "is there a red shape?" yes, "is there not a red shape?" no.
    """
    colour, shape = "", ""
    for question in questions:
        words = set(_stated_words(question))
        colour = _agree(colour, words & COLOURS, question)
        shape = _agree(shape, words & SHAPES, question)
    return Facts(colour, shape)


def _stated_words(question: QuestionRow) -> list[str]:
    words = re.findall(r"[a-z]+", question.text)
    if question.kind == "open":
        return [*words, question.answer]
    negated = "not" in words or "no" in words
    return words if (question.answer == "yes") != negated else []


def _agree(known: str, found: set[str], question: QuestionRow) -> str:
    """The fact known so far or found now. AssetError if they differ, as every image has one shape of one colour."""
    facts = found | ({known} if known else set())
    if len(facts) > 1:
        raise AssetError(
            f"easy_vqa: image {question.image} is both {' and '.join(sorted(facts))}: not the published data"
        )
    return next(iter(facts), "")


def _record(split: str, name: str, image: int, turns: list[tuple[str, str]]) -> LlavaRecord:
    """A LLaVA record; the image precedes the first question."""
    conversations = []
    for number, (question, answer) in enumerate(turns):
        text = "<image>\n" * (number == 0) + question
        conversations.append({"from": "human", "value": text if question else "<image>"})
        conversations.append({"from": "gpt", "value": answer})
    return {"id": name, "image": f"{split}/images/{image}.png", "conversations": conversations}


def write_records(path: Path, records: Iterable[LlavaRecord]) -> None:
    """Write a JSON array with one record a line, so that the line of an error is the record's."""
    write_array(path, records)


def _not_png(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".png")]
