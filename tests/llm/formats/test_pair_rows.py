"""Rows of preferences: both conversations of pairs, scored answers, labels, and what of them is learnt."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm.config.schema import Source
from llm.errors import DataError, RecordError
from llm.formats.conversation import ImageRef, Message
from llm.formats.pairs.pair_reading import prompt_length, read_labelled, read_pairs, without_earlier_loss
from llm.formats.preference_pairs import PreferencePair
from llm.formats.readers import read, source_format

ASK, GOOD, BAD = Message("user", ("Q",)), Message("assistant", ("A",)), Message("assistant", ("B",))


def source(folder: Path, *rows: Any, **more: Any) -> Source:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return Source(path=str(file), **more)


def one(folder: Path, row: Any, **more: Any) -> PreferencePair:
    (pair,) = read_pairs(source(folder, row, **more), folder)
    return pair


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


PAIRS: dict[str, dict[str, Any]] = {
    "TRL": {"prompt": "Q", "chosen": "A", "rejected": "B"},
    "TRL, messages": {
        "prompt": [turn("user", "Q")],
        "chosen": [turn("assistant", "A")],
        "rejected": [turn("assistant", "B")],
    },
    "TRL, without a prompt": {
        "chosen": [turn("user", "Q"), turn("assistant", "A")],
        "rejected": [turn("user", "Q"), turn("assistant", "B")],
    },
    "RLAIF-V": {"question": "Q", "chosen": "A", "rejected": "B", "ds_name": "x"},
    "ms-swift, both conversations": {
        "messages": [turn("user", "Q"), turn("assistant", "A")],
        "rejected_messages": [turn("user", "Q"), turn("assistant", "B")],
    },
    "ms-swift, the answer": {
        "messages": [turn("user", "Q"), turn("assistant", "A")],
        "rejected_messages": [turn("assistant", "B")],
    },
    "UltraFeedback": {
        "instruction": "Q",
        "completions": [
            {"response": "C", "overall_score": 5.5, "critique": "so so"},
            {"response": "A", "overall_score": 9},
            {"response": "B", "overall_score": "1.0"},
            {"response": "D", "overall_score": "N/A"},
        ],
    },
    "lists of answers and scores": {"prompt": "Q", "responses": ["B", "C", "A"], "scores": [0.1, 0.5, 0.9]},
}


@pytest.mark.parametrize("name", PAIRS)
def test_both_conversations(name: str, tmp_path: Path) -> None:
    pair = one(tmp_path, PAIRS[name])
    assert (pair.chosen.messages, pair.rejected.messages) == ((ASK, GOOD), (ASK, BAD))
    assert source_format(source(tmp_path, PAIRS[name]), tmp_path)[0] == "preference"
    (conversation,) = read(source(tmp_path, PAIRS[name]), tmp_path)
    assert conversation.messages == (ASK, GOOD), "supervised fine-tuning learns the chosen answer"


def test_an_image_of_both_sides(tmp_path: Path) -> None:
    pair = one(tmp_path, {"image": "a.png", "question": "Q", "chosen": "A", "rejected": "B"}, images="/pictures")
    assert pair.chosen.images == pair.rejected.images == (ImageRef("/pictures/a.png"),)


def test_of_several_turns_those_after_the_first_difference_are_learnt(tmp_path: Path) -> None:
    turns = [turn("user", "Q"), turn("assistant", "A"), turn("user", "More?")]
    pair = one(tmp_path, {"prompt": turns, "chosen": "yes", "rejected": "no"})
    prompt = prompt_length(pair.chosen, pair.rejected)
    assert prompt == 3
    learnt = without_earlier_loss(pair.chosen, prompt).messages
    assert [message.loss for message in learnt] == [False, False, False, True]


def test_a_margin_is_read_and_asked_of_every_pair(tmp_path: Path) -> None:
    given = source(tmp_path, PAIRS["TRL"] | {"gap": 1.5}, PAIRS["TRL"] | {"gap": True})
    pairs = read_pairs(given, tmp_path, margin="gap")
    assert next(pairs).margin == 1.5
    with pytest.raises(RecordError, match="gap: is true or false, not a finite number"):
        next(pairs)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no pair": ({"messages": [turn("user", "Q"), turn("assistant", "A")]}, "pair-form", "there is none"),
    "one continues the other": (
        {
            "chosen": [turn("user", "Q"), turn("assistant", "A")],
            "rejected": [turn("user", "Q"), turn("assistant", "A"), turn("user", "Q"), turn("assistant", "B")],
        },
        "pair-prompts",
        "message 3 differs, or is on one side only",
    ),
    "scores alike": (
        {"prompt": "Q", "responses": ["A", "A"], "scores": [3, 3]},
        "pair-same",
        "all answers have the same",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_why_a_row_is_no_pair(name: str, tmp_path: Path) -> None:
    row, code, found = REFUSED[name]
    with pytest.raises(RecordError, match=found) as refusal:
        one(tmp_path, row)
    assert refusal.value.code == code


def test_labels_of_answers_under_any_name_and_of_pairs(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Q", "completion": "A", "label": 1},
        {"prompt": "Q", "completion": "B", "label": False},
    ]
    found = list(read_labelled(source(tmp_path, *rows), tmp_path))
    assert [(one.conversation.messages[-1], one.good) for one in found] == [(GOOD, True), (BAD, False)]
    kto = {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "B"}], "kto_tag": False}
    (bad,) = read_labelled(source(tmp_path, kto), tmp_path)
    assert (bad.conversation.messages, bad.good) == ((ASK, BAD), False)
    both = list(read_labelled(source(tmp_path, PAIRS["TRL"]), tmp_path))
    assert [(one.conversation.messages[-1], one.good) for one in both] == [(GOOD, True), (BAD, False)]
    with pytest.raises(RecordError, match="label: there is none"):
        list(read_labelled(source(tmp_path, {"prompt": "Q", "completion": "A"}), tmp_path))
    with pytest.raises(DataError, match="no record to train on"):
        list(read_labelled(source(tmp_path), tmp_path))
