"""The texts of identity data: what is asked about an assistant and how it answers, and ordinary chat.

`identity_<lang>.json` holds questions in their plain form. `wide_<lang>.json` adds those that a model misses which has
seen only these: indirect and negated ones, questions that name another assistant, follow-ups, and ordinary chat that
resembles them.
"""

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Size = Literal["small", "large"]  # questions in their plain form only, or of every kind
QaPair = tuple[str, str]  # (question, answer)


@dataclass(frozen=True, slots=True)
class Topic:
    """Questions of one kind and answers that fit all of them.

    `{name}` and `{author}` are placeholders, and `{wrong}` is one for the name or maker of another assistant.
    `wrong_train` and `wrong_held_out` are the values of the latter.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    answers: tuple[str, ...]
    wrong_train: tuple[str, ...] = ("",)
    wrong_held_out: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation about the assistant; `wrongs` are the values of its `{wrong}`."""

    turns: tuple[QaPair, ...]
    wrongs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LanguageTexts:
    """The texts of one language.

    Args:
        system: System prompts.
        topics: Questions about the assistant, by kind.
        ordinary: Other questions with their answers.
        others: General questions for evaluation.
        frames: Longer messages around a `{question}`.
        careless: Spellings, each with what a hurried writer puts in its place.
        dialogues: Conversations of several turns about the assistant.
    """

    system: tuple[str, ...]
    topics: tuple[Topic, ...]
    ordinary: tuple[QaPair, ...]
    others: tuple[str, ...]
    frames: tuple[str, ...] = ()
    careless: tuple[tuple[str, str], ...] = ()
    dialogues: tuple[Dialogue, ...] = ()


def load_texts(lang: str, size: Size) -> LanguageTexts:
    """The texts of a language, in the amount asked for."""
    raw = _read(f"identity_{lang}.json")
    plain = _plain_texts(raw)
    return plain if size == "small" else _with_wide_texts(plain, raw, _read(f"wide_{lang}.json"))


def _plain_texts(raw: dict[str, Any]) -> LanguageTexts:
    wrongs = {"wrong_name": raw["wrong_names"], "wrong_author": raw["wrong_authors"]}
    topics = []
    for kind, topic in raw["topics"].items():
        wrong = wrongs.get(kind, {"train": [""], "held_out": [""]})
        lists = (topic["train"], topic["held_out"], topic["answers"], wrong["train"], wrong["held_out"])
        topics.append(Topic(*(tuple(values) for values in lists)))
    return LanguageTexts(tuple(raw["system"]), tuple(topics), _pairs(raw["ordinary"]), tuple(raw["others"]))


def _with_wide_texts(plain: LanguageTexts, raw: dict[str, Any], wide: dict[str, Any]) -> LanguageTexts:
    """The plain texts and those of `wide`, whose questions name other assistants and makers of both files."""
    wrongs = {"": ("",)} | {kind: (*raw[kind]["train"], *wide[kind]) for kind in ("wrong_names", "wrong_authors")}
    topics = [
        Topic(tuple(topic["train"]), (), tuple(topic["answers"]), wrongs[topic.get("wrong", "")])
        for topic in wide["topics"].values()
    ]
    dialogues = [Dialogue(_pairs(turns), wrongs[kind]) for kind, talks in wide["dialogues"].items() for turns in talks]
    return replace(
        plain,
        topics=(*plain.topics, *topics),
        ordinary=tuple(dict.fromkeys((*plain.ordinary, *_pairs(wide["ordinary"]), *_table_turns(wide["tables"])))),
        frames=tuple(wide["frames"]),
        careless=_pairs(wide["careless"]),
        dialogues=tuple(dialogues),
    )


def _table_turns(tables: list[dict[str, Any]]) -> tuple[QaPair, ...]:
    """Every question of a table about every row of it, with its answers in rotation; `{0}`, `{1}` are the columns."""
    turns = []
    for table in tables:
        answers = itertools.cycle(table["answers"])
        for row, question in itertools.product(table["rows"], table["questions"]):
            turns.append((question.format(*row), next(answers).format(*row)))
    return tuple(turns)


def _pairs(raw: list[list[str]]) -> tuple[QaPair, ...]:
    return tuple((first, second) for first, second in raw)


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8")))
