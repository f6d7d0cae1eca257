"""Probe questions: scoring, image variants, tables and downloads."""

import csv
import io
from pathlib import Path
from typing import Literal

import pytest

from demo import probes
from demo.model_library import ModelLibrary
from demo.pages.parts.records import load_records
from llm.chat.sampling import Sampling
from llm.config.schema import Source
from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef, Message

GREEDY = Sampling(max_new_tokens=12)

ON, OFF = "banana", "banana, adapters off"


@pytest.mark.parametrize(
    ("answer", "expect", "hit"),
    [
        ("It is 7.", "7", True),
        ("17", "7", False),
        ("I know", "no", False),
        ("No!", "no", True),
        ("I am Iris, yes", "iris", True),
        ("我是小艾助手", "小艾", True),
        ("100摄氏度", "100", True),
        ("", "x", False),
    ],
)
def test_a_hit_is_a_complete_word_of_the_answer(answer: str, expect: str, hit: bool | None) -> None:
    assert probes.ProbeQuestion("general", "?", (expect,)).hit(answer) is hit
    assert probes.ProbeQuestion("identity", "?").hit("anything") is None


def image_record(number: int, image: str, *turns: str) -> Conversation:
    """A record about an image; the turns are question and answer in turn."""
    roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")
    messages = [Message(roles[at % 2], (text,)) for at, text in enumerate(turns)]
    first = Message("user", (ImageRef(image), *messages[0].parts))
    return Conversation((first, *messages[1:]), Place("f", number))


def test_image_questions_have_three_variants(bananas: Path) -> None:
    records = load_records(Source(path=str(bananas / "bananas.json")))
    made = probes.image_probes(records)
    assert [probe.variant for probe in made] == ["right", "blank", "other"] * 3
    for index in range(3):
        right, blank, other = (probe.image for probe in made[3 * index : 3 * index + 3])
        assert len({right, blank, other}) == 3 and right and right.path.endswith(f"{index}.png")
    assert {probe.expect for probe in made} == {("BANANA",)}
    assert probes.image_probes(records[:2])[-1].variant == "blank", "without other images there is no third variant"


def test_probe_records_have_different_images_and_answers() -> None:
    """As in easy-VQA: many questions about the first image, then about the next."""
    asked = [("What shape?", "circle"), ("Is it red?", "no"), ("Is it blue?", "yes"), ("What colour?", "teal")]
    records = [image_record(n, "0.png", *turns) for n, turns in enumerate(asked)]
    records += [
        image_record(n + 4, "1.png", q, a) for n, (q, a) in enumerate([("What shape?", "circle"), ("Is it red?", "no")])
    ]
    records += [
        image_record(n + 6, "2.png", q, a)
        for n, (q, a) in enumerate([("What shape?", "square"), ("Is it red?", "yes")])
    ]
    made = probes.image_probes(records)
    own = [
        (probe.image.path, probe.question, *probe.expect) for probe in made if probe.variant == "right" and probe.image
    ]
    assert own == [
        ("0.png", "What shape?", "circle"),
        ("1.png", "Is it red?", "no"),
        ("2.png", "What shape?", "square"),
    ]
    others = [probe.image.path for probe in made if probe.variant == "other" and probe.image]
    assert others == ["2.png", "2.png", "0.png"], "another answer to the same question"


def test_the_other_image_without_another_answer_is_still_another_image() -> None:
    records = [image_record(n, f"{n % 2}.png", "What?", "cat") for n in range(4)]
    made = probes.image_probes(records)
    assert [(probe.variant, probe.image.path) for probe in made if probe.image and probe.image.path] == [
        ("right", "0.png"),
        ("other", "1.png"),
        ("right", "1.png"),
        ("other", "0.png"),
    ]


def test_records_that_cannot_be_asked_are_left_out() -> None:
    plain = Conversation((Message("assistant", ("text",)),), Place("f"))
    two = Conversation((Message("user", (ImageRef("a"), ImageRef("b"), "Q")), Message("assistant", ("A",))), Place("f"))
    assert probes.image_probes([plain, two]) == []


def test_the_table_counts_hits_by_kind(library: ModelLibrary) -> None:
    listed = [
        *probes.text_probes("Banana")[:2],
        probes.ProbeQuestion("image", "What?", ("BANANA",), "right", probes.blank()),
    ]
    done = list(probes.ask(library[OFF], library[ON], listed, GREEDY))
    assert probes.summary(done) == [["identity", "", "0 / 2", "2 / 2"], ["image", "right", "0 / 1", "1 / 1"]]
    unnamed = list(probes.ask(library[OFF], library[ON], probes.text_probes("")[:1], GREEDY))
    assert probes.summary(unnamed) == [["identity", "", "not judged", "not judged"]]
    assert [cell for result in unnamed for cell in result.cells()[5::2]] == ["not judged", "not judged"]


def test_a_text_model_is_not_asked_about_images(library: ModelLibrary, roomy_llm: Path) -> None:
    probe = probes.ProbeQuestion("image", "What?", ("BANANA",), "right", probes.blank())
    done = list(probes.ask(library[str(roomy_llm)], library[ON], [probe], GREEDY))
    assert done[0].left is None and done[0].cells()[4:] == ["", "not asked", "BANANA", "yes"]
    assert probes.summary(done) == [["image", "right", "not asked", "1 / 1"]]


def test_downloads_escape_formulas_and_markup() -> None:
    evil = probes.ProbeResult(
        probes.ProbeQuestion("general", "=1+1", ("zebra",)), "=HYPERLINK(1)", "a|b <img src=x>\n| c |"
    )
    lines = list(csv.reader(io.StringIO(probes.as_csv([evil], "base", "=tuned"))))
    assert lines[0] == ["kind", "question", "image", "expected", "base", "hit", "'=tuned", "hit"]
    assert lines[1] == ["general", "'=1+1", "", "zebra", "'=HYPERLINK(1)", "no", "a|b <img src=x>\n| c |", "no"]
    text = probes.as_markdown([evil], "base", "tuned")
    assert "<img" not in text and "a\\|b &lt;img src=x> \\| c \\|" in text
    rows = [line for line in text.splitlines() if line.startswith("| general")]
    assert len(rows) == 2 and rows[1].replace("\\|", "").count("|") == len(probes.HEADERS) + 1


def test_an_image_question_of_a_record_with_a_system_message() -> None:
    record = Conversation(
        (Message("system", ("S",)), Message("user", (ImageRef("a.png"), "Q")), Message("assistant", ("A",))), Place("f")
    )
    assert probes.image_probes([record])[0].question == "Q"
