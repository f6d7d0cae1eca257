"""Probe questions: scoring, image variants, tables and downloads."""

import csv
import io
from pathlib import Path

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
        ("", "x", None),
    ],
)
def test_a_hit_is_a_complete_word_of_the_answer(answer: str, expect: str, hit: bool | None) -> None:
    assert probes.ProbeQuestion("general", "?", (expect,)).hit(answer) is hit
    assert probes.ProbeQuestion("identity", "?").hit("anything") is None


def test_image_questions_have_three_variants(bananas: Path) -> None:
    records = load_records(Source(path=str(bananas / "bananas.json")))
    made = probes.image_probes(records)
    assert [probe.variant for probe in made] == ["right", "blank", "other"] * 3
    for index in range(3):
        right, blank, other = (probe.image for probe in made[3 * index : 3 * index + 3])
        assert len({right, blank, other}) == 3 and right and right.path.endswith(f"{index}.png")
    assert {probe.expect for probe in made} == {("BANANA",)}
    assert probes.image_probes(records[:2])[-1].variant == "blank", "without other images there is no third variant"


def test_the_table_counts_hits_by_kind(library: ModelLibrary) -> None:
    listed = [
        *probes.text_probes("Banana")[:2],
        probes.ProbeQuestion("image", "What?", ("BANANA",), "right", probes.blank()),
    ]
    done = list(probes.ask(library[OFF], library[ON], listed, GREEDY))
    assert probes.summary(done) == [["identity", "", "0 / 2", "2 / 2"], ["image", "right", "0 / 1", "1 / 1"]]
    unnamed = list(probes.ask(library[OFF], library[ON], probes.text_probes("")[:1], GREEDY))
    assert probes.summary(unnamed) == [["identity", "", "", ""]]


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
