"""A question and its answer in a row, also of multiple choice: tables of VQA, MMBench and ScienceQA."""

import re
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
    choice in the list, and becomes its letter.
    """
    question, hint, choices = record.text("question"), record.optional("hint"), _choices(record)
    if not all(re.search(rf"{letter}\W{{0,3}}{re.escape(text)}", question) for letter, text in choices.items()):
        question = "\n".join([question, *(f"{letter}. {text}" for letter, text in choices.items())])
    asked = f"{hint}\n{question}" if hint.strip() else question
    return table_conversation(record, asked, _answer(record, choices))


def fits_qa(row: Row) -> bool:
    """Whether the row has a question and an answer as texts, or the place of the answer in a list of choices."""
    answer = row.get("answer")
    chosen = type(answer) is int and any(isinstance(row.get(name), list) for name in _LISTS)
    return isinstance(row.get("question"), str) and (isinstance(answer, str) or chosen)


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
