"""Probe questions that show what training changed: asked of two models, scored alike, exported as a table."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from llm.chat.sampling import Sampling
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel

Kind = Literal["identity", "leading", "general", "image"]
ImageVariant = Literal["", "right", "blank", "other"]  # which image an image question is asked with
TEXT_QUESTIONS = Path(__file__).with_name("probes.json")
HEADERS = ("kind", "question", "image", "expected", "left", "left hit", "right", "right hit")
NOT_JUDGED, NOT_ASKED = "not judged", "not asked"  # without an expected answer; a text model about an image
HIT = {True: "yes", False: "no", None: NOT_JUDGED}
IMAGE_QUESTIONS = 3


@dataclass(frozen=True, slots=True)
class ProbeQuestion:
    """One question. An answer that contains one of `expect` is a hit; without `expect` it is not scored."""

    kind: Kind
    question: str
    expect: tuple[str, ...] = ()
    variant: ImageVariant = ""
    image: ImageRef | None = None

    @property
    def message(self) -> Message:
        """The question as a message, with its image if it has one."""
        parts: tuple[MessagePart, ...] = (self.question,) if self.image is None else (self.image, self.question)
        return Message("user", parts)

    def hit(self, answer: str) -> bool | None:
        """Whether the answer contains an expected word; None without expectation."""
        if not self.expect:
            return None
        return any(_contains_word(answer.casefold(), word.casefold()) for word in self.expect)


def _contains_word(answer: str, word: str) -> bool:
    """Whether the answer contains the word, not only as part of another one: `no` is not in `know`."""
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", answer) is not None


def text_probes(name: str) -> list[ProbeQuestion]:
    """The questions of probes.json. Those about the assistant expect `name`, if it is given."""
    entries = json.loads(TEXT_QUESTIONS.read_text(encoding="utf-8"))
    own = (name.strip(),) if name.strip() else ()
    return [ProbeQuestion(entry["kind"], entry["question"], tuple(entry.get("expect", own))) for entry in entries]


@dataclass(frozen=True, slots=True)
class ImageQuestion:
    """The first question of a record with one image, its answer and the image."""

    question: str
    answer: str
    image: ImageRef


def image_probes(records: Iterable[Conversation]) -> list[ProbeQuestion]:
    """A few image questions, each asked with its own image, a blank one and another one.

    They have different images and, where the file has them, different answers. The other image is that of a record with
    another answer, best to the same question; of a record with the same answer if there is no other. A file with one
    image gives no third variant. What is expected is always the answer for the own image.
    """
    asked = _image_questions(records)
    probes = []
    for one in _varied(asked):
        images: dict[ImageVariant, ImageRef] = {"right": one.image, "blank": blank()}
        others = [other for other in asked if other.image != one.image]
        if others:
            images["other"] = max(others, key=lambda other: _contrast(one, other)).image
        probes += [
            ProbeQuestion("image", one.question, (one.answer,), variant, image) for variant, image in images.items()
        ]
    return probes


def _contrast(one: ImageQuestion, other: ImageQuestion) -> tuple[bool, bool]:
    """The larger, the more the other image shows: another answer, and to the same question."""
    return one.answer.casefold() != other.answer.casefold(), one.question == other.question


def _image_questions(records: Iterable[Conversation]) -> list[ImageQuestion]:
    found = []
    for record in records:
        if len(record.images) != 1 or record.is_plain:
            continue
        first = next(number for number, message in enumerate(record.messages) if message.role == "user")
        question, answer = record.messages[first].text.strip(), record.messages[first + 1].text.strip()
        if answer:
            found.append(ImageQuestion(question, answer, record.images[0]))
    return found


def _varied(asked: Sequence[ImageQuestion]) -> list[ImageQuestion]:
    """IMAGE_QUESTIONS of them at most: first those whose image, question and answer are all new, then any new image."""
    chosen: list[ImageQuestion] = []
    tests: tuple[Callable[[ImageQuestion, ImageQuestion], bool], ...] = (
        lambda one, other: one.question == other.question or one.answer.casefold() == other.answer.casefold(),
        lambda one, other: one.answer.casefold() == other.answer.casefold(),
        lambda one, other: False,
    )
    for alike in tests:
        for one in asked:
            if len(chosen) == IMAGE_QUESTIONS:
                return chosen
            if not any(one.image == other.image or alike(one, other) for other in chosen):
                chosen.append(one)
    return chosen


def blank() -> ImageRef:
    """A white image."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, "PNG")
    return ImageRef(data=stream.getvalue())


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A question and both answers; None for a model that was not asked."""

    probe: ProbeQuestion
    left: str | None
    right: str | None

    def cells(self) -> list[str]:
        """In the order of HEADERS."""
        probe = self.probe
        scored = [cell for answer in (self.left, self.right) for cell in (answer or "", self._score(answer))]
        return [probe.kind, probe.question, probe.variant, " / ".join(probe.expect), *scored]

    def _score(self, answer: str | None) -> str:
        return NOT_ASKED if answer is None else HIT[self.probe.hit(answer)]


def ask(
    left: "ChatModel", right: "ChatModel", probes: Sequence[ProbeQuestion], sampling: Sampling
) -> Iterator[ProbeResult]:
    """Ask both models each question, except a text model about images."""
    for probe in probes:
        yield ProbeResult(probe, *(_answer(chat_model, probe, sampling) for chat_model in (left, right)))


def _answer(chat_model: "ChatModel", probe: ProbeQuestion, sampling: Sampling) -> str | None:
    if probe.image is not None and not chat_model.sees_images:
        return None
    return chat_model.answer((probe.message,), sampling).strip()


def summary(results: Sequence[ProbeResult]) -> list[list[str]]:
    """Hits by kind and image variant: [kind, variant, left hits, right hits]."""
    groups = dict.fromkeys((result.probe.kind, result.probe.variant) for result in results)
    return [[*group, *(_hits(results, group, side) for side in ("left", "right"))] for group in groups]


def _hits(results: Sequence[ProbeResult], group: tuple[str, str], side: Literal["left", "right"]) -> str:
    asked = [result for result in results if (result.probe.kind, result.probe.variant) == group]
    answers = [(result.probe, result.left if side == "left" else result.right) for result in asked]
    given = [(probe, answer) for probe, answer in answers if answer is not None]
    if not given:
        return NOT_ASKED
    scored = [hit for probe, answer in given if (hit := probe.hit(answer)) is not None]
    return f"{sum(scored)} / {len(scored)}" if scored else NOT_JUDGED


def as_csv(results: Sequence[ProbeResult], left: str, right: str) -> str:
    """The table as CSV. Cells that a spreadsheet would evaluate as formulas are prefixed with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([*HEADERS[:4], _inert(left), "hit", _inert(right), "hit"])
    writer.writerows([_inert(cell) for cell in result.cells()] for result in results)
    return stream.getvalue()


def as_markdown(results: Sequence[ProbeResult], left: str, right: str) -> str:
    """The table as Markdown, with the weights that answered and the hits by kind."""
    heads = f"Left: `{left}`  \nRight: `{right}`\n"
    return "\n".join(
        [
            heads,
            _table(("kind", "image", "left", "right"), summary(results)),
            "",
            _table(HEADERS, [result.cells() for result in results]),
        ]
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text escaped for a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _inert(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
