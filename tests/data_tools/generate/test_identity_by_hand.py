"""A small identity data set written out by hand: counts, order and system prompts."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_tools.generate import identity
from data_tools.generate.identity import (
    PERSONAL,
    _dialogues,
    _filled,
    _held_out,
    _identity_turns,
    _languages,
    _mentions,
    _repeat,
    _row,
    _several,
    _single,
    _without,
    build_identity,
)
from data_tools.generate.identity_texts import Dialogue, LanguageTexts, Topic, load_texts
from data_tools.generate.question_forms import Forms

SYSTEM = ("S1", "S2")


def words(*topics: Topic, ordinary: tuple[tuple[str, str], ...] = (), others: tuple[str, ...] = ()) -> LanguageTexts:
    return LanguageTexts(SYSTEM, topics, ordinary, others)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def dice() -> random.Random:
    return random.Random(0)


# Words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("I am {name}, made by {author}, not {wrong}.", "I am N, made by A, not W."),
        ("{name}{name} {other} {Name} name", "NN {other} {Name} name"),
        ("", ""),
    ],
)
def test_placeholders_are_filled(text: str, filled: str) -> None:
    assert _filled(text, "N", "A", "W") == filled


def test_a_name_that_holds_braces_is_not_filled_again() -> None:
    assert _filled("{name} {author} {wrong}", "{author}", "{wrong}", "{name}") == "{author} {wrong} {name}"


def test_wrong_names_exclude_name_and_author() -> None:
    assert _without(("Alexa", "IRIS", "OpenAI", "Iris 2"), "Iris", "openai") == ["Alexa", "Iris 2"]
    assert _without(("",), "Iris", "us") == [""]


def test_a_name_is_mentioned_in_any_case() -> None:
    assert _mentions("iris", "no", "An IRIS blooms") and not _mentions("Iris", "Siri", "")


@pytest.mark.parametrize(
    ("text", "personal"),
    [
        ("Who are you?", True),
        ("Tell me.", True),
        ("I ask", True),
        ("OUR house", True),
        ("It is mine", False),
        ("Is it his?", False),
        ("yours", False),
        ("young", False),
        ("你好", True),
        ("我", True),
        ("您贵姓", True),
        ("天空", False),
    ],
)
def test_personal_questions(text: str, personal: bool) -> None:
    assert bool(PERSONAL.search(text)) is personal


@pytest.mark.parametrize(
    ("lang", "named"),
    [
        ("en", ["en"]),
        ("zh", ["zh"]),
        ("zh,en", ["en", "zh"]),
        ("en, zh ,en", ["en", "zh"]),
    ],
)
def test_languages_are_unique_and_ordered(lang: str, named: list[str]) -> None:
    assert _languages(lang) == named


# Turns ----------------------------------------------------------------------------------------------------------------


def test_each_question_has_two_answers_and_one_with_a_wrong_name_three() -> None:
    plain = Topic(("Q1 {name}?", "Q2?"), (), ("A", "B", "C {name}"))
    wrong = Topic(("{wrong}?",), (), ("No {wrong}", "Not {wrong}", "Never", "Nope"), wrong_train=("X", "Y", "Z", "N"))
    turns = list(_identity_turns(words(plain, wrong), "N", "M", dice()))
    assert [question for question, _ in turns[:4]] == ["Q1 N?", "Q1 N?", "Q2?", "Q2?"]
    for first, second in (turns[:2], turns[2:4]):
        assert first[1] != second[1] and {first[1], second[1]} <= {"A", "B", "C N"}
    asked = turns[4:]
    assert {question for question, _ in asked} == {"X?", "Y?", "Z?"} and len(asked) == 3
    assert len({answer for _, answer in asked}) == 3
    assert all(answer.partition(" ")[2] in ("", question[0]) for question, answer in asked), "the name that was asked"


@pytest.mark.parametrize(("answers", "copies"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_there_are_no_more_copies_than_answers_and_names_rotate(answers: int, copies: int) -> None:
    topic = Topic(("{wrong}?",), (), ("a", "b", "c", "d")[:answers], wrong_train=("X", "Y"))
    turns = list(_identity_turns(words(topic), "N", "M", dice()))
    assert len(turns) == copies
    assert [question for question, _ in turns] in (["X?", "Y?", "X?"][:copies], ["Y?", "X?", "Y?"][:copies])
    plain = Topic(("?",), (), topic.answers)
    assert len(list(_identity_turns(words(plain), "N", "M", dice()))) == min(2, answers)


def test_held_out_questions_keep_their_order_and_wrong_names() -> None:
    first = Topic((), ("{name}?", "{author}?"), ("A",))
    second = Topic((), ("{wrong}1", "{wrong}2", "{wrong}3"), ("A",), ("X",), ("Y", "N", "Z"))
    assert list(_held_out(words(first, second), "N", "M")) == ["N?", "M?", "Y1", "Z2", "Y3"]


# Rows -----------------------------------------------------------------------------------------------------------------


def test_a_record_of_messages() -> None:
    assert _row([("Q", "A"), ("R", "B")], "") == {"messages": [user("Q"), bot("A"), user("R"), bot("B")]}
    assert _row([("Q", "A")], "S") == {"messages": [system("S"), user("Q"), bot("A")]}


def test_every_second_record_has_a_system_prompt() -> None:
    turns = [(f"Q{n}", f"A{n}") for n in range(40)]
    rows = list(_single(turns, words(), dice()))
    assert [row["messages"][-2:] for row in rows] == [[user(q), bot(a)] for q, a in turns]
    assert [len(row["messages"]) for row in rows] == [2, 3] * 20
    assert {row["messages"][0]["content"] for row in rows[1::2]} == {"S1", "S2"}


@pytest.mark.parametrize(("asked", "rows"), [(3, 0), (4, 1), (7, 1), (8, 2), (24, 6)])
def test_a_quarter_is_repeated_among_ordinary_chat(asked: int, rows: int) -> None:
    own = [(f"Q{n}", f"A{n}") for n in range(asked)]
    ordinary = [(f"O{n}", f"P{n}") for n in range(5)]
    made = list(_several(own, ordinary, words(), dice()))
    assert len(made) == rows
    places = []
    for number, row in enumerate(made):
        pairs = [(row["messages"][n], row["messages"][n + 1]) for n in range(number % 2, len(row["messages"]), 2)]
        assert (row["messages"][0]["role"] == "system") == (number % 2 == 1)
        turns = [(question["content"], answer["content"]) for question, answer in pairs]
        assert len(set(turns)) == len(turns)
        places.append("".join("own " if turn in own else "chat " if turn in ordinary else "?" for turn in turns))
    assert places == ["chat own ", "own chat ", "chat own chat "] * (rows // 3) + ["chat own ", "own chat "][: rows % 3]
    assert len({str(row) for row in made}) == rows


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 9])
def test_ordinary_chat_fills_up_with_personal_turns_twice_as_often(count: int) -> None:
    ordinary = [("Sky?", "blue"), ("Sea?", "deep"), ("Who are you?", "me")]
    rows = _repeat(ordinary, count, words(), dice(), Forms())
    assert len(rows) == count
    assert [row["messages"][0]["role"] == "system" for row in rows] == [n % 2 == 1 for n in range(count)]
    for start in range(0, count - 3, 4):  # a round holds each once and the personal one twice
        asked = Counter(row["messages"][-2]["content"] for row in rows[start : start + 4])
        assert asked == {"Sky?": 1, "Sea?": 1, "Who are you?": 2}
    assert {row["messages"][-1]["content"] for row in rows} <= {"blue", "deep", "me"}


def test_conversations_name_two_other_assistants() -> None:
    talk = Dialogue((("{wrong}?", "{name}, not {wrong}."), ("Sky?", "blue")), ("X", "n", "Y", "m"))
    texts = LanguageTexts(SYSTEM, (), (), (), dialogues=(talk,))
    rows = list(_dialogues(texts, "N", "M", dice()))
    plain, after_system = (row["messages"] for row in rows)
    assert after_system[0] in (system("S1"), system("S2"))
    named = [turns[0]["content"] for turns in (plain, after_system[1:])]
    assert sorted(named) == ["X?", "Y?"]
    for turns, question in zip((plain, after_system[1:]), named, strict=True):
        assert turns == [user(question), bot(f"N, not {question[0]}."), user("Sky?"), bot("blue")]


# The whole set --------------------------------------------------------------------------------------------------------

ENGLISH = LanguageTexts(
    SYSTEM,
    (Topic(("Who are you?", "Name?"), ("Who is there?",), ("I am {name}.", "{name}, by {author}.")),),
    (("Sky?", "blue"), ("Iris?", "a flower"), ("Sea?", "deep"), ("Sun?", "hot")),
    ("What is an iris?", "What is a rose?"),
)
CHINESE = LanguageTexts(
    SYSTEM,
    (Topic(tuple(f"谁{n}？" for n in range(6)), ("谁？",), ("{name}。", "是{name}。")),),
    (("天？", "蓝"), ("海？", "深"), ("日？", "热")),
    ("花？",),
)


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the shipped texts by these."""
    monkeypatch.setattr(identity, "load_texts", lambda lang, size: {"en": ENGLISH, "zh": CHINESE}[lang])


def kind(row: dict[str, Any]) -> tuple[bool, bool]:
    text = "".join(message["content"] for message in row["messages"] if message["role"] != "system")
    return any(char >= "\u4e00" for char in text), "Iris" in text


@pytest.mark.usefixtures("few_words")
def test_the_data_set_of_one_language() -> None:
    """Two questions twice and a quarter of these four again are five records, and five of ordinary chat."""
    data = build_identity(" Iris ", "us", "en", 3)
    assert Counter(map(kind, data.train)) == {(False, True): 5, (False, False): 5}
    asked = Counter(message["content"] for row in data.train for message in row["messages"])
    assert "Iris?" not in asked, "ordinary chat that mentions the name is left out"
    assert (data.held_out, data.others) == (["Who is there?"], ["What is a rose?"])
    assert len({json.dumps(row) for row in data.train}) == 10, "ordinary questions that repeat continue with another"
    own = [row for row in data.train if kind(row) == (False, True)]
    assert sorted(len(row["messages"]) // 2 for row in own) == [1] * 4 + [2]
    assert data == build_identity("Iris", "us", "en", 3) and data.train != build_identity("Iris", "us", "en", 4).train


@pytest.mark.usefixtures("few_words")
def test_two_languages_get_equally_many_records() -> None:
    """Six questions twice and three again are fifteen; the other language's five are filled up to fifteen."""
    data = build_identity("Iris", "us", "zh,en", 3)
    assert Counter(map(kind, data.train)) == {(cjk, own): 15 for cjk in (True, False) for own in (True, False)}
    assert (data.held_out, data.others) == (["Who is there?", "谁？"], ["What is a rose?", "花？"])


@pytest.mark.usefixtures("few_words")
def test_rehearsed_answers_are_used() -> None:
    def with_other_answers(turns: Any) -> Any:
        return [(question, "Iris says so" if question == "Sky?" else "so") for question, _ in turns]

    data = build_identity("Iris", "us", "en", rehearse=with_other_answers)
    asked = Counter(message["content"] for row in data.train for message in row["messages"])
    assert asked["so"] >= 5 and not {"blue", "deep", "hot"} & asked.keys()
    assert "Sky?" not in asked, "an answer with the name in it is left out as well"


def test_the_texts_of_each_language_are_read_from_its_file() -> None:
    for language in ("en", "zh"):
        found = load_texts(language, "small")
        assert Path(identity.__file__).with_name(f"identity_{language}.json").is_file()
        wrong = [topic for topic in found.topics if topic.wrong_train != ("",)]
        assert len(wrong) == 2 and all("{wrong}" in "".join(topic.train) for topic in wrong)
        assert all(not set(topic.wrong_train) & set(topic.wrong_held_out) for topic in wrong)
        plain = [topic for topic in found.topics if topic not in wrong]
        assert plain and not any("{wrong}" in text for topic in plain for text in (*topic.train, *topic.answers))
