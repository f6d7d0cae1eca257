"""Forms of questions: framed, typed in haste, and apart from what is kept for evaluation."""

import random

import pytest

from data_tools.generate.identity_texts import load_texts
from data_tools.generate.question_forms import Forms, in_haste, normalised


def dice() -> random.Random:
    return random.Random(0)


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("Who are you?", "who are you"),
        ("Sorry, what's your name? Thanks!", "sorry what's your name thanks"),
        ("Is 3.5 more than 2?", "is 3.5 more than 2"),
        ("那个……你好，你是谁？", "那个 你好 你是谁"),
        ("你是GPT-4吗？说实话。", "你是gpt-4吗 说实话"),
    ],
)
def test_haste_drops_capitals_and_punctuation(text: str, typed: str) -> None:
    assert in_haste(text, (), dice()) == typed


def test_haste_takes_two_spellings_at_most_and_complete_words_of_latin_letters() -> None:
    careless = (("you", "u"), ("are", "r"), ("who", "hwo"))
    found = {in_haste("Who are you?", careless, random.Random(seed)) for seed in range(20)}
    assert found == {"hwo r you", "hwo are u", "who r u"}
    assert in_haste("Is your area young?", careless, dice()) == "is your area young"
    assert in_haste("你叫什么名字？", (("什么", "啥"),), dice()) == "你叫啥名字"
    assert in_haste("a a", (("a", "\\1"),), dice()) == "\\1 a"


def test_the_second_and_third_of_four_are_framed_hasty_framed_and_both_in_turn() -> None:
    turns = [(f"Q{n}?", f"A{n}") for n in range(16)]
    asked = Forms(("Hi. {question}",)).of(turns, dice())
    assert [answer for _, answer in asked] == [answer for _, answer in turns]
    assert [question for question, _ in asked] == [
        *("Q0?", "Hi. Q1?", "q2", "Q3?"),
        *("Q4?", "Hi. Q5?", "hi q6", "Q7?"),
        *("Q8?", "Hi. Q9?", "q10", "Q11?"),
        *("Q12?", "Hi. Q13?", "hi q14", "Q15?"),
    ]


def test_without_frames_questions_and_draws_stay_as_they_are() -> None:
    dice_before, turns = dice(), [("Q?", "A")] * 4
    assert Forms().of(turns, dice_before) == turns
    assert dice_before.random() == dice().random()


def test_no_form_is_a_question_that_is_kept_for_evaluation() -> None:
    forms = Forms(("{question} Thanks!",), (), frozenset({"q1 thanks", "q2"}))
    turns = [(f"Q{n}?", "A") for n in range(4)]
    assert forms.of(turns, dice()) == turns


def test_questions_are_compared_without_case_spacing_and_punctuation() -> None:
    assert normalised(" What's  your name?!") == "what s your name"
    assert normalised("你好，你是谁？") == "你好 你是谁"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_wide_texts(lang: str) -> None:
    """Placeholders are known ones, every frame has a question, and no ordinary text has a placeholder left."""
    texts = load_texts(lang, "large")
    assert all(frame.count("{question}") == 1 for frame in texts.frames)
    assert not any("{" in text for turn in texts.ordinary for text in turn)
    for topic in texts.topics:
        assert ("{wrong}" in "".join(topic.train)) == (topic.wrong_train != ("",)), topic.train[0]
        assert all("{name}" in answer for answer in topic.answers), topic.answers
        assert not set(topic.wrong_train) & set(texts.topics[4].wrong_held_out), "held-out names are never trained on"
    for dialogue in texts.dialogues:
        assert any("{name}" in answer for _, answer in dialogue.turns)
    assert len(texts.ordinary) == len(set(texts.ordinary))
