"""What free answers say, in English and Chinese, and which refuse."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.scores.answer_reading import read_box, read_letter, read_number, read_presence, read_yes_no
from vlm.scores.boxes import Box, BoxConvention, overlap
from vlm.scores.refusals import is_refusal

OPTIONS = {"A": "cat", "B": "black cat", "C": "a dog", "D": "红色的狗"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("(B)", "B"),
        ("**C**", "C"),
        ("【D】", "D"),
        ("B. black cat", "B"),
        ("B) because it is black", "B"),
        ("B：黑猫", "B"),
        ("B\nIt is black", "B"),
        ("The answer is C.", "C"),
        ("The correct option is (A), not B", "A"),
        ("Answer: A. No, wait. The answer is B", "B"),
        ("答案是 C", "C"),
        ("正确答案：（D）", "D"),
        ("应选B。", "B"),
        ("我选择A", "A"),
        ("black cat", "B"),
        ("It is a black cat.", "B"),
        ("A cat", "A"),  # the article: by the option's text
        ("I see a dog and a cat", None),
        ("是红色的狗", "D"),
        ("I think it must be C", "C"),
        ("E", None),
        ("A and B", None),
        ("A dog is not here", "C"),
        ("concatenation", None),
        ("", None),
        ("I am sorry", None),
    ],
)
def test_letters(answer: str, letter: str | None) -> None:
    assert read_letter(answer, OPTIONS) == letter


def test_fewer_options_and_the_pronoun() -> None:
    assert read_letter("C", {"A": "x", "B": "y"}) is None
    assert read_letter("I like it", {letter: f"text {letter}" for letter in "ABCDEFGHI"}) is None


@pytest.mark.parametrize(
    ("answer", "presence", "yes_no"),
    [
        ("Yes", "yes", "yes"),
        ("no.", "no", "no"),
        ("No, there is a dog.", "no", "no"),
        ("There is a dog. It is not black.", "yes", None),
        ("There is not a dog.", "no", None),
        ("There isn't one", "no", None),
        ("I cannot see a dog", "no", None),
        ("Nothing notable", "yes", None),
        ("是的，有一只狗", "yes", "yes"),
        ("没有", "no", "no"),
        ("不是。", "no", "no"),
        ("图中有一只狗。没有猫。", "yes", None),
        ("**Yes**", "yes", "yes"),
        ("", None, None),
        (" \n", None, None),
    ],
)
def test_yes_and_no(answer: str, presence: str | None, yes_no: str | None) -> None:
    assert (read_presence(answer), read_yes_no(answer)) == (presence, yes_no)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("12", 12.0),
        ("The value is 1,234.5.", 1234.5),
        ("about -3 degrees", -3.0),
        ("7%", 0.07),
        ("In 2019 it is 45", 45.0),
        ("2019 年的值是 45", 45.0),
        ("2 and 3", None),
        ("none", None),
        ("1.2.3", None),
        ("1e999", None),
        ("x7", None),
    ],
)
def test_numbers(answer: str, number: float | None) -> None:
    assert read_number(answer) == number


SIZE = (200, 100)
WANTED = (20.0, 10.0, 100.0, 60.0)


@pytest.mark.parametrize(
    ("answer", "convention"),
    [
        ("[0.1, 0.1, 0.5, 0.6]", BoxConvention()),
        ("[.1,.1,.5,.6]", BoxConvention()),
        ("<box>(100,100),(500,600)</box>", BoxConvention("thousand")),
        ("<box>[[100, 100, 500, 600]]</box>", BoxConvention("thousand")),
        ('```json\n[{"bbox_2d": [20, 10, 100, 60], "label": "cat"}]\n```', BoxConvention("pixels")),
        ("It is at 20 10 80 50", BoxConvention("pixels", "size")),
        ("[0.1, 0.1, 0.4, 0.5]", BoxConvention("unit", "size")),
        ("[100, 100, 400, 500]", BoxConvention("thousand", "size")),
    ],
)
def test_boxes_in_each_convention(answer: str, convention: BoxConvention) -> None:
    assert read_box(answer, convention, SIZE) == pytest.approx(WANTED)
    assert convention.box(convention.numbers(WANTED, SIZE), SIZE) == pytest.approx(WANTED)


@pytest.mark.parametrize("answer", ["", "no box", "[1, 2, 3]", "bbox_2d 1.2.3.4"])
def test_no_box(answer: str) -> None:
    assert read_box(answer, BoxConvention(), SIZE) is None


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (2, 2, 4, 4), 4 / 100),
        ((10, 10, 0, 0), (0, 0, 10, 10), 0.0),
    ],
)
def test_overlap(one: Box, other: Box, share: float) -> None:
    assert overlap(one, other) == pytest.approx(share) == overlap(other, one)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I can't see the image.", True),
        ("Sorry, no.", True),
        ("I cannot determine the colour.", True),
        ("I don’t know", True),
        ("As an AI language model, I", True),
        ("Unfortunately, I am unable to answer", True),
        ("抱歉，我无法查看图片", True),
        ("我无法判断。", True),
        ("作为一个人工智能", True),
        ("The man cannot see the ball", False),
        ("I can see a dog", False),
        ("unanswerable", False),
        ("没有", False),
        ("No image of a dog", False),
        ("", False),
    ],
)
def test_refusals(answer: str, refused: bool) -> None:
    assert is_refusal(answer) == refused


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert read_letter(text, OPTIONS) in (None, *OPTIONS)
    assert read_yes_no(text) in (None, "yes", "no")
    assert read_presence(text) in (None, "yes", "no")
    assert read_number(text) is None or isinstance(read_number(text), float)
    box = read_box(text, BoxConvention(), SIZE)
    assert box is None or len(box) == 4
    assert is_refusal(text) in (True, False)
