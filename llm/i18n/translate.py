"""A finished English message becomes Chinese: a catalogue pairs the pattern of each message with its translation.

Errors are raised in English, with values filled in. A pattern has `{}` where a value is; its translation has `{}` in
the same order or `{0}`, `{1}`. So neither the code that raises nor a log depends on a language.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Literal, NamedTuple
from unicodedata import east_asian_width

Language = Literal["en", "zh"]
JOINTS = {". ": "。", ": ": "：", "; ": "；"}  # between the parts of a message
MARKS = JOINTS | {", ": "，"}
_JOINT = re.compile(r"(\. |: |; )")
_CELL = re.compile(r"\S+(?: \S+)*")
_HAN = "[\u4e00-\u9fff]"
_PROSE = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")  # words in a row, unlike a name, a key or a number
MAX_LENGTH = 2000  # characters of a message that is translated; messages may quote what a file holds
MAX_JOINTS = 16
DEEPEST = 4  # messages inside messages
CERTAIN = 12  # fixed characters from which a pattern's values may be prose
BEGINNING = 3  # characters by which patterns are looked up


def translated(message: str, lang: Language) -> str:
    """The message in `lang`; in English what has no translation.

    A message of several parts, `place: field: found. advice`, is translated part by part.
    """
    if lang == "en" or len(message) > MAX_LENGTH or _joints(message) > MAX_JOINTS:
        return message
    return _match(message) or _parts(message) or _match(message, joints=True) or message


def translated_error(message: str, lang: Language) -> str:
    """The message of a command in `lang`, complete: in English if only some of its sentences have a translation.

    Paths, keys and quoted values stay as they are in both languages.
    """
    if lang == "en":
        return message
    if "\n" in message:
        return _translated_lines(message, lang)
    if len(message) > MAX_LENGTH or _joints(message) > MAX_JOINTS:
        return message
    if message.endswith(":") and (text := translated_error(message[:-1], lang)) != message[:-1]:
        return f"{text}："
    return _match(message) or _complete_parts(message) or _match(message, joints=True) or message


def _translated_lines(message: str, lang: Language) -> str:
    """Indented lines quote records, recipes and reports: one of them may stay English."""
    lines = [(line[: len(line) - len(line.lstrip())], line.strip()) for line in message.split("\n")]
    shown = [(indent and _match(line, joints=True)) or translated_error(line, lang) for indent, line in lines]
    if any(
        _PROSE.search(text) and text == line and not indent for text, (indent, line) in zip(shown, lines, strict=True)
    ):
        return message
    return "\n".join(indent + text for text, (indent, _) in zip(shown, lines, strict=True))


def _complete_parts(message: str) -> str:
    """The message with every part translated; empty if a sentence has no translation."""
    parts = _known_parts(message)
    found = any(known and " " in part for part, known, _ in parts)
    before = [": ", *(joint for _, _, joint in parts)]  # the first part is a place, if a colon follows it
    unknown = [
        number
        for number, (part, known, joint) in enumerate(parts)
        if not known and (before[number] != ": " or _PROSE.search(part)) and (number or joint != ": ")
    ]
    return _joined(parts) if found and not unknown else ""


def translated_output(text: str, lang: Language) -> str:
    """What a command prints, in `lang`: line by line, each complete or in English.

    Where two blanks or more separate cells, these are translated one by one, and begin where they began, as far as
    there is room; so is a line in brackets, inside them.
    """
    return text if lang == "en" else "\n".join(_output_line(line, lang) for line in text.split("\n"))


def _output_line(line: str, lang: Language) -> str:
    inner = line.strip()
    if line.startswith("(") and line.endswith(")") and (text := translated_error(inner[1:-1], lang)) != inner[1:-1]:
        return f"（{text}）"
    if not inner or len(line) > MAX_LENGTH:
        return line
    cells = [(cell.start(), cell[0], translated_error(cell[0], lang)) for cell in _CELL.finditer(line)]
    if len(cells) == 1 or any(text == shown and _PROSE.search(text) for _, text, shown in cells):
        return line.replace(inner, translated_error(inner, lang))
    done = ""
    for start, _, shown in cells:
        done += " " * max(start - width(done), 2 if done else 0) + shown
    return done


def width(text: str) -> int:
    """The columns of a text on a terminal: a Chinese character has two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _parts(message: str) -> str:
    """The message with every part translated that is known. Empty if none is known."""
    parts = _known_parts(message)
    if not any(known for _, known, _ in parts):
        return ""
    return _joined(parts)


def _joined(parts: list[tuple[str, str, str]]) -> str:
    return "".join((known or part) + JOINTS.get(joint, "") for part, known, joint in parts)


def _known_parts(message: str) -> list[tuple[str, str, str]]:
    """(part, its translation or empty, the joint after it) in order; the longest parts that are known."""
    pieces = _JOINT.split(message)  # texts and, between them, joints
    done, start = list[tuple[str, str, str]](), 0
    while start < len(pieces):
        ends = range(len(pieces), start, -2)
        known = next(((text, end) for end in ends if (text := _match("".join(pieces[start:end])))), None)
        text, end = known or ("", start + 1)
        done.append(("".join(pieces[start:end]), text, "".join(pieces[end : end + 1])))
        start = end + 1
    return done


def _match(message: str, joints: bool = False, depth: int = 0) -> str:
    """The translation of a message that fits one pattern; of several the one with the most fixed characters.

    Without `joints` no value may hold one: `has {}` is not the pattern of `has two. Remove one`.
    """
    exact = _catalogue()[0].get(message)
    if exact is not None:
        return exact.format()
    found = _joints(message)
    for entry in _candidates(message[:BEGINNING]):
        if entry.longest not in message or not (joints or found == entry.joints):
            continue
        values = _values(message, entry.pieces)
        if values is not None and _plausible(values, entry):
            shown = [_value(value, depth) for value in values]
            made = [text for text, value in zip(shown, values, strict=True) if text != value]
            return _without_blanks(entry.chinese.format(*shown), made)
    return ""


def _without_blanks(text: str, values: list[str]) -> str:
    """The text without the blanks of its pattern between Chinese characters and these values, if they are Chinese."""
    for value in values:
        text = re.sub(rf"(?<={_HAN}) (?={_HAN}){re.escape(value)}", lambda found: found[0][1:], text)
        text = re.sub(rf"{re.escape(value)}(?<={_HAN}) (?={_HAN})", lambda found: found[0][:-1], text)
    return text


def _value(value: str, depth: int) -> str:
    """The value, translated if it is a message itself, and if it is not deep inside others."""
    return (depth < DEEPEST and _match(value, depth=depth + 1)) or value


def _plausible(values: list[str], entry: "_Entry") -> bool:
    """Whether these may be values.

    Untranslated prose is none in a pattern of a word or two, and none where a sentence begins. Several sentences are
    one only after a colon or a bracket.
    """
    for value, before in zip(values, entry.pieces, strict=False):
        if _joints(value) and not before.endswith((": ", "(")):
            return False
        certain = entry.fixed >= CERTAIN and not before.endswith(". ")
        if not certain and _PROSE.search(value) and not _match(value, depth=DEEPEST):
            return False
    return True


def _joints(text: str) -> int:
    return len(_JOINT.findall(text))


class _Entry(NamedTuple):
    """A pattern with values."""

    pieces: tuple[str, ...]  # its fixed texts
    chinese: str
    joints: int
    fixed: int  # characters
    longest: str  # of the pieces: looked for first


@cache
def _candidates(beginning: str) -> list[_Entry]:
    """The patterns that a message with this beginning may fit, those with the most fixed characters first."""
    by_beginning = _catalogue()[1]
    entries = [*by_beginning.get(beginning, ()), *by_beginning.get("", ())]
    return sorted(entries, key=lambda entry: -entry.fixed)


def _with_sentences(messages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The patterns, and those that end in a value of one or more sentences also without it: `{}: is empty. {}`."""
    for english, chinese in messages.items():
        yield english, chinese
        if english.endswith(". {}") and chinese.endswith("。{}") and (less := english[:-4]) not in messages:
            yield less, chinese[:-3]


@cache
def _catalogue() -> tuple[dict[str, str], dict[str, list[_Entry]]]:
    """Patterns without values, and the others by their first characters; empty where a value comes before these."""
    from llm.i18n.catalogue import MESSAGES  # imported only now: English commands need no catalogue

    exact, by_beginning = dict[str, str](), dict[str, list[_Entry]]()
    for english, chinese in _with_sentences(MESSAGES):
        pieces = tuple(english.split("{}"))
        if len(pieces) == 1:
            exact[english] = chinese
            continue
        beginning = pieces[0][:BEGINNING] if len(pieces[0]) >= BEGINNING else ""
        entry = _Entry(pieces, chinese, sum(map(_joints, pieces)), sum(map(len, pieces)), max(pieces, key=len))
        by_beginning.setdefault(beginning, []).append(entry)
    return exact, by_beginning


def _values(message: str, pieces: tuple[str, ...]) -> list[str] | None:
    """The values between the fixed pieces, None if the message does not fit. Linear: messages may quote anything."""
    first, *inner, last = pieces
    if not message.startswith(first) or not message.endswith(last) or len(message) < len(first) + len(last):
        return None
    end, at, values = len(message) - len(last), len(first), list[str]()
    for piece in inner:
        found = message.find(piece, at, end)
        if found < 0:
            return None
        values.append(message[at:found])
        at = found + len(piece)
    return [*values, message[at:end]]
