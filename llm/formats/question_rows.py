"""A question and its answer in a row: tables of VQA, SQuAD, MMBench and ScienceQA."""

import re
from collections import Counter
from string import ascii_uppercase

from llm.formats.conversation import Message
from llm.formats.turns.table_turns import table_conversation
from llm.records.record import Record, Row, kind
from llm.records.unread_fields import is_blank

_LISTS = ("choices", "options")
_ADVICE = "Write the answer, its letter, or its place in the list counted from 0"


def read_qa(record: Record) -> tuple[Message, ...]:
    """`{"question", "answer", "image"?, "hint"?}`, with the choices in columns A, B, C... or a list of texts.

    Choices are written below the question unless it has them, with letters; a number as the answer is the place of a
    choice in the list, and becomes its letter. Of several `answers` to the same question, as VQAv2, TextVQA and SQuAD
    have them, the most frequent is learnt, the first of equals; a question without any is left out.
    """
    question, hint, choices = record.text("question"), record.optional("hint"), _choices(record)
    if not all(re.search(rf"{letter}\W{{0,3}}{re.escape(text)}", question) for letter, text in choices.items()):
        question = "\n".join([question, *(f"{letter}. {text}" for letter, text in choices.items())])
    asked = "\n".join(text for text in (_passage(record), hint, question) if text.strip())
    answer = _agreed(record) if "answer" not in record.row else _answer(record, choices)
    return table_conversation(record, asked, answer) if answer is not None else ()


def fits_qa(row: Row) -> bool:
    """Whether the row has a question and an answer as texts, the place of one in a list of choices, or several."""
    answer = row.get("answer")
    chosen = type(answer) is int and any(isinstance(row.get(name), list) for name in _LISTS)
    several = "answer" not in row and _given(row.get("answers")) is not None
    return isinstance(row.get("question"), str) and (isinstance(answer, str) or chosen or several)


def _given(answers: object) -> list[str] | None:
    """The texts of several answers, or None: a list of texts or of objects with one, or SQuAD's `{"text": [...]}`.

    The keys of such an object are `answer` or `text`.
    """
    if isinstance(answers, dict):
        answers = answers.get("text")
    if not isinstance(answers, list):
        return None
    texts = [one.get("answer", one.get("text")) if isinstance(one, dict) else one for one in answers]
    return [text for text in texts if isinstance(text, str)] if all(isinstance(text, str) for text in texts) else None


def _agreed(record: Record) -> str | None:
    """The most frequent of several answers; None where there is none."""
    texts = _given(record.take("answers"))
    if texts is None:
        raise record.error("answers", "is no list of texts", "Write a list of texts", "field-type")
    return Counter(texts).most_common(1)[0][0] if texts else None


def _passage(record: Record) -> str:
    """The text that a question of SQuAD is about."""
    return record.optional("context") if "answers" in record.row and "answer" not in record.row else ""


def _choices(record: Record) -> dict[str, str]:
    """Letter -> choice; empty for a question without."""
    for name in _LISTS:
        value = record.row.get(name)
        if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
            return dict(zip(ascii_uppercase, map(str, record.items(name)), strict=False))
    filled = [letter for letter in ascii_uppercase if not is_blank(record.row.get(letter))]
    if filled != list(ascii_uppercase[: len(filled)]) or len(filled) < 2:
        return {}
    return {letter: record.text(letter) for letter in filled}


def _answer(record: Record, choices: dict[str, str]) -> str:
    answer = record.take("answer")
    if isinstance(answer, str):
        return answer
    if type(answer) is int and 0 <= answer < len(choices):
        return ascii_uppercase[answer]
    raise record.error("answer", f"is {kind(answer)}, and there are {len(choices)} choices", _ADVICE, "field-type")
