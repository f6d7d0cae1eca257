"""Probe questions that show what training changed: asked of two models, scored alike, exported as a table."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from llm.chat.chat_model import ChatModel
from llm.chat.sampling import Sampling
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart

Kind = Literal["identity", "leading", "general", "image"]
ImageVariant = Literal["", "right", "blank", "other"]  # which image an image question is asked with
TEXT_QUESTIONS = Path(__file__).with_name("probes.json")
HEADERS = ("kind", "question", "image", "expected", "left", "left hit", "right", "right hit")
HIT = {True: "yes", False: "no", None: ""}
IMAGE_QUESTIONS = 3  # each asked with its own image, a blank one and another one


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
        """Whether the answer contains an expected word; None without expectation or answer."""
        if not self.expect or not answer:
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


def image_probes(records: Sequence[Conversation]) -> list[ProbeQuestion]:
    """The first question of the first records with one image, asked with that image, a blank one and another one."""
    chosen = [record for record in records if len(record.images) == 1][:IMAGE_QUESTIONS]
    probes = []
    for index, record in enumerate(chosen):
        first = next(number for number, message in enumerate(record.messages) if message.role == "user")
        question, answer = record.messages[first].text.strip(), record.messages[first + 1].text.strip()
        others = [other.images[0] for other in chosen if other.images != record.images]
        images: dict[ImageVariant, ImageRef] = {"right": record.images[0], "blank": blank()}
        if others:
            images["other"] = others[index % len(others)]
        probes += [ProbeQuestion("image", question, (answer,), variant, image) for variant, image in images.items()]
    return probes


def blank() -> ImageRef:
    """A white image."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, "PNG")
    return ImageRef(data=stream.getvalue())


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A question and both answers."""

    probe: ProbeQuestion
    left: str
    right: str

    def cells(self) -> list[str]:
        """In the order of HEADERS."""
        probe = self.probe
        scored = [self.left, HIT[probe.hit(self.left)], self.right, HIT[probe.hit(self.right)]]
        return [probe.kind, probe.question, probe.variant, " / ".join(probe.expect), *scored]


def ask(
    left: ChatModel, right: ChatModel, probes: Sequence[ProbeQuestion], sampling: Sampling
) -> Iterator[ProbeResult]:
    """Ask both models each question. The answer of a text model to an image question is empty."""
    for probe in probes:
        yield ProbeResult(probe, *(_answer(chat_model, probe, sampling) for chat_model in (left, right)))


def _answer(chat_model: ChatModel, probe: ProbeQuestion, sampling: Sampling) -> str:
    if probe.image is not None and not chat_model.sees_images:
        return ""
    return chat_model.answer((probe.message,), sampling).strip()


def summary(results: Sequence[ProbeResult]) -> list[list[str]]:
    """Hits by kind and image variant: [kind, variant, left hits, right hits]."""
    groups = dict.fromkeys((result.probe.kind, result.probe.variant) for result in results)
    return [[*group, *(_hits(results, group, side) for side in ("left", "right"))] for group in groups]


def _hits(results: Sequence[ProbeResult], group: tuple[str, str], side: Literal["left", "right"]) -> str:
    scores = [
        result.probe.hit(result.left if side == "left" else result.right)
        for result in results
        if (result.probe.kind, result.probe.variant) == group
    ]
    scored = [hit for hit in scores if hit is not None]
    return f"{sum(scored)} / {len(scored)}" if scored else ""


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
