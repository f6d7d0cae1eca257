"""Short answers: the official VQA normalisation by a table of its description, and each score by hand."""

from random import Random

import pytest

from vlm.scores.short_answers import (
    anls_score,
    edit_distance,
    exact_score,
    gqa_score,
    plain_number,
    relaxed_score,
    vqa_score,
)
from vlm.scores.vqa_text import normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # https://visualqa.org/evaluation.html, sentence by sentence
        ("YES", "yes"),  # all characters lowercase
        ("Mr. Smith.", "mr smith"),  # periods removed
        ("1.5", "1.5"),  # except in decimals
        (".5 kg.", ".5 kg"),
        ("two", "2"),  # number words to digits
        ("Ten dogs", "10 dogs"),
        ("none", "0"),
        ("zero", "0"),
        ("eleven", "eleven"),  # only to ten
        ("a dog", "dog"),  # articles removed
        ("The end of an era", "end of era"),
        ("theatre", "theatre"),
        ("dont", "don't"),  # apostrophe added where a contraction lacks it
        ("Its what theyre", "its what they're"),
        ("couldntve", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("isn't", "isn't"),
        ("were well", "were well"),  # words of their own
        ("red/white", "red white"),  # punctuation becomes a space
        ("t-shirt", "t shirt"),
        ("hello, world!", "hello world"),
        ("100,978", "100978"),  # no space for a comma between digits
        ("1,000,000", "1000000"),
        ("3, 4", "3 4"),
        ("10:30", "10:30"),  # apostrophe and colon stay
        ("dog's", "dog's"),
        ("snake_case @ home", "snake case home"),
        ("  two \n\t spaces ", "2 spaces"),
        ("", ""),
        ("红色", "红色"),
    ],
)
def test_the_normalisation_is_as_described(text: str, expected: str) -> None:
    assert normalised(text) == expected
    assert normalised(expected) == expected


def test_ten_answers_by_hand() -> None:
    # 3 of 10 said red. Leaving out one of the 3: 2/3; leaving out one of the 7: 3/3. (3 * 2/3 + 7) / 10
    assert vqa_score("Red.", ["red"] * 3 + ["blue"] * 7) == pytest.approx(0.9)
    assert vqa_score("red", ["red"] * 10) == 1.0
    assert vqa_score("red", ["red"] + ["blue"] * 9) == pytest.approx(9 * (1 / 3) / 10)
    assert vqa_score("red", ["the red"] * 2 + ["blue"] * 8) == pytest.approx((2 / 3 + 8 * 2 / 3) / 10)
    assert vqa_score("green", ["red"] * 10) == 0.0
    assert vqa_score("two", ["2"]) == 1.0


def test_ten_answers_are_those_of_leaving_each_out() -> None:
    random = Random(1)
    for _ in range(1000):
        answers = [random.choice(["red", "a red", "two", "2", "blue"]) for _ in range(10)]
        given = random.choice([*answers, "grey"])
        plain = [normalised(one) for one in answers]
        slow = 0.0
        for left_out in range(10):
            others = plain[:left_out] + plain[left_out + 1 :]
            slow += min(1.0, others.count(normalised(given)) / 3) / 10
        assert vqa_score(given, answers) == pytest.approx(slow, abs=1e-9)


def test_exact_and_gqa() -> None:
    assert exact_score(" a  b\n", ["a b"]) == 1.0
    assert exact_score("A b", ["a b"]) == 0.0
    assert gqa_score("Left.", ["left"]) == 1.0
    assert gqa_score("the left", ["left"]) == 0.0


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        ("105", "100", 1.0),
        ("105.1", "100", 0.0),
        ("95", "100", 1.0),
        ("94.9", "100", 0.0),
        ("-100", "100", 0.0),
        ("-9.6", "-10", 1.0),
        ("5%", "0.05", 1.0),
        ("5%", "5", 0.0),
        ("0", "0", 1.0),
        ("0.001", "0", 0.0),
        ("yes", "Yes", 1.0),
        ("1e999", "7", 0.0),
        ("the answer is 100", "100", 0.0),
    ],
)
def test_relaxed_within_five_percent(answer: str, truth: str, score: float) -> None:
    assert relaxed_score(answer, [truth]) == score


def test_plain_number() -> None:
    assert [plain_number(text) for text in ("12.", " .5 ", "1e3", "7%", "x", "", "1e999", "nan", "inf")] == [
        12.0, 0.5, 1000.0, 0.07, None, None, None, None, None,
    ]  # fmt: skip


def test_anls_by_hand() -> None:
    assert anls_score("Hello World", ["hello  world"]) == 1.0
    assert anls_score("helo", ["hello"]) == pytest.approx(1 - 1 / 5)
    assert anls_score("abcd", ["abxy"]) == 0.0  # a distance of one half is too far
    assert anls_score("abc", ["abxyzw", "abd"]) == pytest.approx(1 - 1 / 3)
    assert anls_score("", ["x"]) == 0.0
    assert anls_score("", [""]) == 1.0


def test_edit_distance_is_that_of_the_table() -> None:
    random = Random(2)
    for _ in range(1000):
        one, other = ("".join(random.choice("abc") for _ in range(random.randrange(0, 9))) for _ in range(2))
        assert edit_distance(one, other) == _slow_distance(one, other), (one, other)


def _slow_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        above, row = row, [number]
        for at, mark in enumerate(other):
            row.append(min(row[-1] + 1, above[at + 1] + 1, above[at] + (letter != mark)))
    return row[-1]
