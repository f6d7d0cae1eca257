"""The figure with the boxes of an answer."""

import base64
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.pages.chat_notes import boxes_of_answer, boxes_of_chat
from demo.pages.parts.answer_boxes import boxes_html
from demo.pages.parts.chat_messages import refusal
from llm.formats.conversation import ImageRef
from tests.demo.conftest import noise_image
from tests.demo.payloads import XSS
from vlm.scores.model_boxes import ModelBoxes

ANSWER = "the cat [0.1, 0.2, 0.5, 0.6] and a dog [0.5, 0.5, 1.0, 1.0]"


def asked(file: Path) -> dict[str, Any]:
    return {"role": "user", "content": [{"file": {"path": str(file)}}, {"type": "text", "text": "Where?"}]}


def test_boxes_are_drawn_and_said(uploads: Path) -> None:
    """On the image of the question, or of an earlier one, in the language of the page."""
    (uploads / "a.png").write_bytes(noise_image(1))
    now = boxes_of_answer(ANSWER, [], {"text": "Where?", "files": [str(uploads / "a.png")]}, "en")
    assert "<li>the cat: left 4, top 8, right 20, bottom 24 pixels</li>" in now
    assert '<rect x="4.0" y="8.0" width="16.0" height="16.0"' in now and 'viewBox="0 0 40 40" aria-hidden="true"' in now
    assert "the cat, and a dog" in re.findall('alt="([^"]*)"', now)[0]
    data = base64.b64decode(re.findall('base64,([^"]+)"', now)[0])
    assert Image.open(BytesIO(data)).size == (40, 40)
    history = [asked(uploads / "a.png"), {"role": "assistant", "content": "Here."}]
    assert "<li>the cat：左 4，上 8，右 20，下 24（像素）</li>" in boxes_of_answer(ANSWER, history, "And now?", "zh")


def test_a_restored_chat_has_its_boxes_again(uploads: Path) -> None:
    (uploads / "a.png").write_bytes(noise_image(1))
    question = {"role": "user", "content": [{"path": str(uploads / "a.png")}, "Where?"]}
    turns = [question, {"role": "assistant", "content": [ANSWER]}]
    assert boxes_of_chat(turns, "en").count("<li>") == 2
    for other in ([], [question], [question, refusal(ANSWER)], [question, {"role": "assistant", "content": ["No."]}]):
        assert boxes_of_chat(other, "en") == ""


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (ModelBoxes("thousand"), "the cat [100, 200, 500, 600]"),
        (
            ModelBoxes("qwen2.5", (20, 400, 900)),
            '{"bbox_2d": [2, 4, 10, 12], "label": "the cat"}',
        ),  # resized to 20 x 20
        (ModelBoxes("xtuner"), "the cat {<10><20><50><60>}"),
        (ModelBoxes("paligemma"), "the cat <loc0205><loc0102><loc0614><loc0512>"),
    ],
)
def test_an_answer_is_drawn_in_the_style_of_its_model(model: ModelBoxes, answer: str, uploads: Path) -> None:
    (uploads / "a.png").write_bytes(noise_image(1))
    found = boxes_of_answer(answer, [asked(uploads / "a.png")], "", "en", model)
    assert "<li>the cat: left 4, top 8, right 20, bottom 24 pixels</li>" in found
    turns = [asked(uploads / "a.png"), {"role": "assistant", "content": answer}]
    assert boxes_of_chat(turns, "en", model) == found


def test_without_a_box_or_an_image_there_is_no_figure(uploads: Path) -> None:
    (uploads / "a.png").write_bytes(noise_image(1))
    (uploads / "b.png").write_bytes(b"no image")
    assert boxes_of_answer("A cat.", [asked(uploads / "a.png")], "", "en") == ""
    assert boxes_of_answer(ANSWER, [], "Where?", "en") == ""
    assert boxes_of_answer(ANSWER, [asked(uploads / "b.png")], "", "en") == ""
    assert boxes_of_answer(ANSWER, [asked(Path("/etc/passwd"))], "", "en") == "", "not uploaded"
    assert boxes_of_answer(ANSWER, [asked(uploads / "gone.png")], "", "en") == ""


@pytest.mark.parametrize("payload", XSS)
def test_a_name_is_no_markup(payload: str) -> None:
    answer = f"<ref>{payload}</ref><box>(100,100),(500,600)</box>"
    found = boxes_html("Boxes", answer, ImageRef(data=noise_image(1)), "{}: {} {} {} {}", "box {}")
    inner = re.sub(r"</?(?:figure|figcaption|div|img|svg|rect|text|ol|li)\b[^<>]*>", "", found)
    assert "<" not in inner and "${" not in found and found.count("<img") == 1
