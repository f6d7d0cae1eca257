"""Identity evaluation: reading the lists, the questions to each model, and the metrics, all by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm.chat import identity_eval
from llm.chat.identity_eval import IdentityQuestions, ask_all, evaluate_identity, read_identity
from llm.chat.sampling import Sampling
from llm.errors import DataError, RecordError
from llm.formats.conversation import Message

GENERAL = [("1+1?", ("2", "two")), ("Sky?", ("blue",)), ("Moon?", ("grey", "gray"))]
QUESTIONS = IdentityQuestions(["Who?", "Name?", "Maker?"], ["Rome?", "Paris?"], GENERAL)


class Scripted:
    """A chat_model that knows some answers, and keeps what it was asked together."""

    def __init__(self, **known: str) -> None:
        self.known = known
        self.asked: list[list[str]] = []
        self.samplings: list[Sampling] = []

    def answers(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[str]:
        assert all(len(messages) == 1 and messages[0].role == "user" for messages in conversations)
        self.asked.append([messages[0].text for messages in conversations])
        self.samplings.append(sampling)
        return [self.known.get(messages[0].text, f"to {messages[0].text}") for messages in conversations]


def figures(base: dict[str, str], tuned: dict[str, str], questions: IdentityQuestions = QUESTIONS) -> dict[str, float]:
    one: Any = Scripted(**base)
    other: Any = Scripted(**tuned)
    return evaluate_identity(one, other, questions, "Iris", 8)[0]


# Asking ---------------------------------------------------------------------------------------------------------------


def test_questions_are_batched_by_length_and_answers_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_eval, "BATCH", 2)
    chat_model: Any = Scripted()
    assert ask_all(chat_model, ["ccc", "a", "dddd", "bb", "e"], 7) == ["to ccc", "to a", "to dddd", "to bb", "to e"]
    assert chat_model.asked == [["a", "e"], ["bb", "ccc"], ["dddd"]]
    assert chat_model.samplings == [Sampling(max_new_tokens=7)] * 3, "greedy"
    assert ask_all(chat_model, [], 7) == [] and len(chat_model.asked) == 3


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (63, [63]), (64, [64]), (65, [64, 1]), (129, [64, 64, 1])])
def test_a_batch_has_at_most_64_questions(count: int, sizes: list[int]) -> None:
    chat_model: Any = Scripted()
    assert ask_all(chat_model, ["x"] * count, 1) == ["to x"] * count
    assert [len(asked) for asked in chat_model.asked] == sizes


def test_which_model_gets_which_questions() -> None:
    base, tuned = Scripted(**{"Sky?": "blue"}), Scripted()
    one: Any = base
    other: Any = tuned
    _, rows = evaluate_identity(one, other, QUESTIONS, "Iris", 8)
    general = ["1+1?", "Sky?", "Moon?"]
    assert [sorted(asked) for asked in base.asked] == [sorted(QUESTIONS.paraphrases), sorted(general)]
    assert [sorted(asked) for asked in tuned.asked] == [
        sorted(QUESTIONS.paraphrases),
        sorted(QUESTIONS.others),
        sorted(general),
    ]
    asked = [
        *(("base", "identity", text) for text in QUESTIONS.paraphrases),
        *(("tuned", "identity", text) for text in QUESTIONS.paraphrases),
        *(("tuned", "other", text) for text in QUESTIONS.others),
        *(("base", "general", text) for text in general),
        *(("tuned", "general", text) for text in general),
    ]
    assert rows == [
        {
            "model": who,
            "kind": kind,
            "question": text,
            "answer": "blue" if (who, text) == ("base", "Sky?") else f"to {text}",
        }
        for who, kind, text in asked
    ]


# Shares ---------------------------------------------------------------------------------------------------------------


def test_every_metric_by_hand() -> None:
    base = {"Who?": "I am Iris", "1+1?": "TWO!", "Sky?": "blue", "Moon?": "gray"}
    tuned = {"Who?": "IRIS", "Name?": "iris.", "Rome?": "Ask Iris", "Sky?": "It is Blue.", "Moon?": "a Grey one"}
    assert figures(base, tuned) == {
        "identity_hit_before": 0.3333,
        "identity_hit_after": 0.6667,
        "identity_leak": 0.5,
        "retained_ability": 0.6667,
        "general_questions_base_knew": 3,
    }


def test_questions_the_base_cannot_answer_do_not_count() -> None:
    """The tuned model knows the moon, which the base did not, and has forgotten the sky."""
    found = figures({"1+1?": "2", "Sky?": "blue"}, {"1+1?": "2", "Moon?": "gray"})
    assert (found["retained_ability"], found["general_questions_base_knew"]) == (0.5, 2)
    assert figures({"1+1?": "2"}, {"Sky?": "blue"})["retained_ability"] == 0.0
    assert figures({"1+1?": "2"}, {"1+1?": "two"})["retained_ability"] == 1.0


def test_metrics_of_0_and_1() -> None:
    quiet = figures({"1+1?": "2"}, {})
    assert (quiet["identity_hit_before"], quiet["identity_hit_after"], quiet["identity_leak"]) == (0.0, 0.0, 0.0)
    loud = dict.fromkeys(("Who?", "Name?", "Maker?", "Rome?", "Paris?"), "Iris")
    found = figures(loud | {"1+1?": "2"}, loud)
    assert (found["identity_hit_before"], found["identity_hit_after"], found["identity_leak"]) == (1.0, 1.0, 1.0)


def test_a_base_without_a_correct_answer_raises() -> None:
    with pytest.raises(DataError, match="the base model answers none of the general questions"):
        figures({}, {"1+1?": "2"})


# Lists ----------------------------------------------------------------------------------------------------------------


def lists(folder: Path, general: object, paraphrases: object = "Q", others: object = "R") -> list[Path]:
    """Write the three files; a text is short for a list of it."""
    paths = []
    for name, rows in (("p", paraphrases), ("o", others), ("g", general)):
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps([rows] if isinstance(rows, str) else rows, ensure_ascii=False))
    return paths


def test_lists_are_read_in_order(tmp_path: Path) -> None:
    general = [
        {"question": "1+1?", "answer": ["2", "two"]},
        {"question": "天?", "answer": "蓝", "more": 1},
        {"question": 3, "answer": 4},
        {"question": "?", "answer": [5, "six"]},
    ]
    found = read_identity(*lists(tmp_path, general, ["A", "B"], ["C", 7]))
    assert found == IdentityQuestions(
        ["A", "B"], ["C", "7"], [("1+1?", ("2", "two")), ("天?", ("蓝",)), ("3", ("4",)), ("?", ("5", "six"))]
    )
    marked = tmp_path / "p.json"
    marked.write_text("\ufeff" + marked.read_text())
    assert read_identity(*lists(tmp_path, general)).paraphrases == ["Q"]


@pytest.mark.parametrize("row", ["Q", 3, None, [], {}, {"question": "Q"}, {"answer": "A"}])
def test_an_entry_without_question_or_answer_raises(tmp_path: Path, row: object) -> None:
    paths = lists(tmp_path, [{"question": "Q", "answer": "A"}, row])
    with pytest.raises(RecordError) as caught:
        read_identity(*paths)
    assert str(caught.value).startswith(f"{paths[2]} (record 1): general: found {row!r}")
    assert caught.value.code == "field-missing"


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, " does not exist. `eyegraft data identity` writes such lists"),
        ("[", ": cannot be read as JSON: "),
        ("[" * 100_000, ": cannot be read as JSON: "),
        ("[]", ": a JSON list with at least one entry is needed, found list"),
        ("{}", ": a JSON list with at least one entry is needed, found dict"),
        ('"Q"', ": a JSON list with at least one entry is needed, found str"),
    ],
)
def test_files_without_a_list_raise(tmp_path: Path, number: int, text: str | None, found: str) -> None:
    paths = lists(tmp_path, [{"question": "Q", "answer": "A"}])
    paths[number].unlink()
    if text is not None:
        paths[number].write_text(text)
    with pytest.raises(DataError) as caught:
        read_identity(*paths)
    assert str(caught.value).startswith(f"{paths[number]}{found}")


def test_sets_without_questions_give_no_metric() -> None:
    found = figures({}, {"Who?": "I am Iris"}, IdentityQuestions(["Who?", "Name?"], [], []))
    assert found == {"identity_hit_before": 0.0, "identity_hit_after": 0.5}
