"""`data ask` about a folder of images: captions and conversations, as LLaVA records."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.ask.answer_rows import InvalidAnswer, read_conversation
from data_tools.ask.ask import ask, report
from data_tools.ask.journal import journal_path
from data_tools.ask.plan import AskPlan
from llm.config.schema import Source
from llm.errors import ConfigError, DataError
from llm.formats.conversation import ImageRef
from llm.formats.readers import read
from tests.data_tools.ask.stub import Act, ReceivedRequest, Script, Stub, first, listening
from tests.data_tools.ask.test_ask import plan_of, rows_of
from tests.llm.rows import bot, user
from vlm.vision.images import read_image

RED, BLUE = (200, 20, 20), (20, 20, 200)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, a copy, a broken one, a hidden one, and a text file."""
    base = tmp_path / "pictures"
    (base / "图").mkdir(parents=True)
    Image.new("RGB", (300, 150), RED).save(base / "b.png")
    Image.new("RGB", (40, 60), BLUE).save(base / "图" / "a.jpg", quality=95)
    (base / "copy.png").write_bytes((base / "b.png").read_bytes())
    (base / "broken.jpg").write_bytes(b"<html>")
    (base / ".hidden.png").write_bytes((base / "b.png").read_bytes())
    (base / "notes.txt").write_text("x")
    return base


def colour(asked: ReceivedRequest) -> str:
    """The colour of the image that was sent."""
    pixels = np.asarray(seen(asked)).reshape(-1, 3).mean(0)
    return "red" if np.abs(pixels - RED).max() < 4 else "blue" if np.abs(pixels - BLUE).max() < 4 else "?"


def seen(asked: ReceivedRequest) -> Image.Image:
    (url,) = asked.images
    head, _, body = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body, validate=True)))


def plan_about(folder: Path, stub: Stub, **options: Any) -> AskPlan:
    return plan_of(folder, stub, **{"instruction": "Describe the image.", **options})


def test_captions(folder: Path) -> None:
    with listening(lambda asked: Act(f"It is {colour(asked)}.\n")) as stub:
        plan = plan_about(folder, stub, max_side=100)
        outcome = ask(plan)
    assert sorted(seen(one).size for one in stub.asked) == [(40, 60), (100, 50)]
    assert {one.text for one in stub.asked} == {"Describe the image."}
    assert (outcome.exit_code, outcome.sent, plan.repeats) == (3, 2, 1)
    ((name, reason),) = outcome.progress.failed
    assert name == "broken.jpg" and "a web page, not an image" in reason
    assert rows_of(plan.out) == [
        {
            "id": name,
            "image": name,
            "conversations": [
                {"from": "human", "value": "<image>\nDescribe the image."},
                {"from": "gpt", "value": f"It is {shade}."},
            ],
        }
        for name, shade in (("b.png", "red"), ("图/a.jpg", "blue"))
    ]
    assert f"In a recipe write images: {folder}" in list(report(plan, outcome))
    source = Source(path=str(plan.out), images=str(folder))
    first_row = next(read(source, folder)).messages
    assert first_row == (user(ImageRef(str(folder / "b.png")), "Describe the image."), bot("It is red."))
    assert read_image(first_row[0].parts[0]).size == (300, 150)


def test_a_caption_is_stored_with_another_question_than_was_sent(folder: Path) -> None:
    with listening(lambda asked: Act("一张图")) as stub:
        plan = plan_about(folder, stub, instruction="Long rules ...", question="图里有什么？")
        ask(plan)
        assert {one.text for one in stub.asked} == {"Long rules ..."}
    asked = [row["conversations"][0]["value"] for row in rows_of(plan.out)]
    assert asked == ["<image>\n图里有什么？"] * 2


TALK = [("What is it?", "A square."), ("是什么颜色？", "红色。")]


def conversation_json(turns: list[tuple[str, str]]) -> str:
    return json.dumps(
        {"conversation": [{"question": asked, "answer": answer} for asked, answer in turns]}, ensure_ascii=False
    )


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", " \n{}\n"])
def test_conversations(folder: Path, wrap: str) -> None:
    with listening(lambda asked: Act(wrap.replace("{}", conversation_json(TALK)))) as stub:
        plan = plan_about(folder, stub, turns=2)
        outcome = ask(plan)
        assert outcome.sent == len(stub.asked) == 2
        again = ask(plan)
        assert (again.before, again.sent) == (2, 0)
    assert stub.asked[0].text.startswith("Describe the image.\n")
    assert "exactly 2 questions, each with its answer" in stub.asked[0].text
    row = rows_of(plan.out)[0]
    assert (row["id"], row["image"]) == ("b.png", "b.png")
    assert [(turn["from"], turn["value"]) for turn in row["conversations"]] == [
        ("human", "<image>\nWhat is it?"),
        ("gpt", "A square."),
        ("human", "是什么颜色？"),
        ("gpt", "红色。"),
    ]


MALFORMED = {
    "prose": "Here you are: a red square.",
    "a list": json.dumps([{"question": "Q", "answer": "A"}] * 2),
    "cut": conversation_json(TALK)[:-3],
    "another key": conversation_json(TALK).replace('"question"', '"q"', 1),
    "one more key": conversation_json(TALK).replace('"answer"', '"why": "", "answer"', 1),
    "a number": conversation_json(TALK).replace('"红色。"', "3"),
    "too few": conversation_json(TALK[:1]),
    "too many": conversation_json([*TALK, ("x", "y")]),
    "no answer": conversation_json([TALK[0], ("x", " ")]),
    "no question": conversation_json([TALK[0], ("", "y")]),
    "a mark in a question": conversation_json([TALK[0], ("<image>", "y")]),
    "a mark in an answer": conversation_json([TALK[0], ("x", "see <image>")]),
    "text behind": conversation_json(TALK) + " I hope this helps.",
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_conversations_are_retried(folder: Path, case: str) -> None:
    script: Script = first(Act(MALFORMED[case]), lambda asked: Act(conversation_json(TALK)))
    with listening(script) as stub:
        outcome = ask(plan_about(folder, stub, turns=2))
        assert (outcome.progress.retried, len(outcome.progress.rows), len(stub.asked)) == (2, 2, 4)


def test_after_three_malformed_conversations_a_question_has_failed(folder: Path) -> None:
    with listening(lambda asked: Act("no" if colour(asked) == "red" else conversation_json(TALK))) as stub:
        plan = plan_about(folder, stub, turns=2)
        outcome = ask(plan)
    assert (outcome.exit_code, len(stub.asked)) == (3, 4)
    reason = dict(outcome.progress.failed)["b.png"]
    assert reason.startswith("not the requested JSON: Invalid JSON") and reason.endswith(", 3 times")
    assert outcome.progress.tokens.prompt == 40  # tokens of invalid answers count
    assert {row["question"] for row in rows_of(journal_path(plan.out)) if "failed" in row} == {"b.png", "broken.jpg"}
    assert [row["id"] for row in rows_of(plan.out)] == ["图/a.jpg"]


def test_a_caption_with_a_placeholder_is_invalid(folder: Path) -> None:
    with listening(first(Act("An <image> of a square"), lambda asked: Act("A square"))) as stub:
        outcome = ask(plan_about(folder, stub))
    assert (outcome.progress.retried, len(outcome.progress.rows)) == (2, 2)


def test_another_image_under_the_same_name_is_a_new_question(folder: Path) -> None:
    with listening(lambda asked: Act(colour(asked))) as stub:
        assert ask(plan_about(folder, stub)).sent == 2
        Image.new("RGB", (30, 30), BLUE).save(folder / "b.png")
        outcome = ask(plan_about(folder, stub))
        assert (outcome.before, outcome.sent) == (2, 1)  # copy.png equals the old b.png
        assert ask(plan_about(folder, stub, max_side=50)).sent == 3  # another size is another question
    captions = {row["id"]: row["conversations"][1]["value"] for row in rows_of(folder.parent / "out.jsonl")}
    assert captions == {"b.png": "blue", "copy.png": "red", "图/a.jpg": "blue"}


def test_refusals_before_anything_is_sent(folder: Path, tmp_path: Path) -> None:
    with listening(lambda asked: Act("x")) as stub:
        with pytest.raises(DataError, match="b.png: images: 2 <image> placeholders.*Correct the question"):
            plan_about(folder, stub, instruction="What is in <image>?")
        with pytest.raises(ConfigError, match="needs --instruction"):
            plan_about(folder, stub, instruction=" ")
        with pytest.raises(ConfigError, match=r"--instruction .*missing\.txt"):
            plan_about(folder, stub, instruction=str(tmp_path / "missing.txt"))
        (folder / "图" / "a.jpg").unlink()
        with pytest.raises(ConfigError, match="no image in this folder"):
            plan_about(folder / "图", stub)
        (tmp_path / "how.txt").write_text("  Say it.\n")
        assert plan_about(folder, stub, instruction=str(tmp_path / "how.txt")).questions[0].text == "Say it."
        assert not stub.asked


def test_the_number_of_turns_is_checked() -> None:
    assert read_conversation(conversation_json(TALK[:1]), 1) == TALK[:1]
    with pytest.raises(InvalidAnswer, match="2 questions with answers, 1 requested"):
        read_conversation(conversation_json(TALK), 1)
