"""A list of questions that shows what training changed: asked of two models, judged alike, written as a table."""

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
ImageVariant = Literal["", "right", "blank", "other"]
LISTED = Path(__file__).with_name("probes.json")
HEADERS = ("kind", "question", "picture", "expected", "left", "left hit", "right", "right hit")
HIT = {True: "yes", False: "no", None: ""}
PICTURES = 3  # image questions, each asked with three pictures


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. A hit is an answer that holds one of `expect`; without any the answer is not judged."""

    kind: Kind
    question: str
    expect: tuple[str, ...] = ()
    picture: ImageVariant = ""
    image: ImageRef | None = None

    @property
    def message(self) -> Message:
        """What is asked."""
        parts: tuple[MessagePart, ...] = (self.question,) if self.image is None else (self.image, self.question)
        return Message("user", parts)

    def hit(self, answer: str) -> bool | None:
        """Whether the answer holds what was expected; None when nothing was, or when there is no answer."""
        if not self.expect or not answer:
            return None
        return any(_says(answer.casefold(), word.casefold()) for word in self.expect)


def _says(answer: str, word: str) -> bool:
    """Whether the word stands in the answer, not only as a part of another: `no` is not in `know`."""
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", answer) is not None


def text_probes(name: str) -> list[Probe]:
    """The listed questions; those about the assistant itself are hit by its name."""
    rows = json.loads(LISTED.read_text(encoding="utf-8"))
    own = (name.strip(),) if name.strip() else ()
    return [Probe(row["kind"], row["question"], tuple(row.get("expect", own))) for row in rows]


def image_probes(records: Sequence[Conversation]) -> list[Probe]:
    """The first question of the first records, with its picture, a blank one, and the next record's."""
    seen = [record for record in records if len(record.images) == 1][:PICTURES]
    probes = []
    for index, record in enumerate(seen):
        asked = next(number for number, message in enumerate(record.messages) if message.role == "user")
        question, answer = record.messages[asked].text.strip(), record.messages[asked + 1].text.strip()
        others = [other.images[0] for other in seen if other.images != record.images]
        shown: dict[ImageVariant, ImageRef] = {"right": record.images[0], "blank": blank()}
        if others:
            shown["other"] = others[index % len(others)]
        probes += [Probe("image", question, (answer,), picture, image) for picture, image in shown.items()]
    return probes


def blank() -> ImageRef:
    """A white picture."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, "PNG")
    return ImageRef(data=stream.getvalue())


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe and both answers."""

    probe: Probe
    left: str
    right: str

    def row(self) -> list[str]:
        """In the order of HEADERS."""
        probe = self.probe
        judged = [self.left, HIT[probe.hit(self.left)], self.right, HIT[probe.hit(self.right)]]
        return [probe.kind, probe.question, probe.picture, " / ".join(probe.expect), *judged]


def ask(left: ChatModel, right: ChatModel, probes: Sequence[Probe], sampling: Sampling) -> Iterator[ProbeResult]:
    """One probe after the other, each to both; a model without eyes answers those about pictures with nothing."""
    for probe in probes:
        yield ProbeResult(probe, *(_answer(chat_model, probe, sampling) for chat_model in (left, right)))


def _answer(chat_model: ChatModel, probe: Probe, sampling: Sampling) -> str:
    if probe.image is not None and not chat_model.sees_images:
        return ""
    return chat_model.answer((probe.message,), sampling).strip()


def summary(asked: Sequence[ProbeResult]) -> list[list[str]]:
    """Hits by kind and picture: kind, picture, left, right."""
    groups = dict.fromkeys((one.probe.kind, one.probe.picture) for one in asked)
    return [[*group, *(_hits(asked, group, side) for side in ("left", "right"))] for group in groups]


def _hits(asked: Sequence[ProbeResult], group: tuple[str, str], side: Literal["left", "right"]) -> str:
    judged = [
        one.probe.hit(one.left if side == "left" else one.right)
        for one in asked
        if (one.probe.kind, one.probe.picture) == group
    ]
    known = [hit for hit in judged if hit is not None]
    return f"{sum(known)} / {len(known)}" if known else ""


def as_csv(asked: Sequence[ProbeResult], left: str, right: str) -> str:
    """The table for a spreadsheet. A cell that one would run as a formula begins with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([*HEADERS[:4], _inert(left), "hit", _inert(right), "hit"])
    writer.writerows([_inert(cell) for cell in one.row()] for one in asked)
    return stream.getvalue()


def as_markdown(asked: Sequence[ProbeResult], left: str, right: str) -> str:
    """The table for a report, with the weights that answered and the hits by kind."""
    heads = f"Left: `{left}`  \nRight: `{right}`\n"
    return "\n".join(
        [
            heads,
            _table(("kind", "picture", "left", "right"), summary(asked)),
            "",
            _table(HEADERS, [one.row() for one in asked]),
        ]
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that cannot end a cell or begin a tag."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _inert(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
