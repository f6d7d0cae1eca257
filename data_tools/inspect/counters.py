"""Counters over the records of a data set in little memory: eight bytes per record and per answer."""

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llm.formats.conversation import Conversation

WINDOW = 100_000  # texts between two removals of rare ones
LONGEST = 200  # characters of a text that are stored
OPENING_WORDS = 3
OPENING_CHARACTERS = 6  # in scripts without spaces
_EAST_ASIAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_CJK = re.compile(f"[{_EAST_ASIAN}]")
_LETTER = re.compile(r"[^\W\d_]")
_EAST_ASIAN_MARKS = "\u3000-\u303f\uff00-\uffef"
_OPEN_CJK = rf"[\"“‘(]?[{_EAST_ASIAN}{_EAST_ASIAN_MARKS}]\S{{0,{OPENING_CHARACTERS - 1}}}"
_OPENING = re.compile(rf"{_OPEN_CJK}|\S+(?:\s+\S+){{0,{OPENING_WORDS - 1}}}")


class FrequentTexts:
    """The most frequent of many texts with exact counts, without storing all texts.

    The hash of every text is stored and counted at the end. Of the texts themselves only those that may be frequent are
    stored: lossy counting (Manku and Motwani, VLDB 2002) loses none that occurs more than once in `window` texts.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._hashes = array("q")
        self._seen: dict[int, tuple[str, int, int]] = {}  # hash -> text, count, most it was missed

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, text: str) -> None:
        """Count one text."""
        key = hash(text)
        self._hashes.append(key)
        bucket = len(self._hashes) // self._window
        known, count, missed = self._seen.get(key, ("", 0, bucket))
        self._seen[key] = (known or _short(text), count + 1, missed)
        if len(self._hashes) % self._window == 0:
            self._seen = {key: entry for key, entry in self._seen.items() if entry[1] + entry[2] > bucket}

    def most(self, count: int) -> list[tuple[str, int]]:
        """The `count` most frequent texts with their counts, ties in alphabetical order."""
        keys, counts = self._counted()
        rank = np.argsort(-counts, kind="stable")
        least = counts[rank[count - 1]] if len(rank) >= count else 0
        candidates = [
            (self._seen[key][0], number)
            for key, number in zip(keys.tolist(), counts.tolist(), strict=True)
            if number >= least and key in self._seen
        ]
        return sorted(candidates, key=lambda pair: (-pair[1], pair[0]))[:count]

    @property
    def distinct(self) -> int:
        """The number of different texts."""
        return len(self._counted()[0])

    def _counted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        keys, counts = np.unique(np.frombuffer(self._hashes, np.int64), return_counts=True)
        return keys, counts


@dataclass(slots=True)
class RecordCounter:
    """Statistics of the records that do not depend on a tokenizer."""

    turns: Counter[int] = field(default_factory=Counter)  # answers of a record
    images: Counter[int] = field(default_factory=Counter)  # images of a record
    image_names: FrequentTexts = field(default_factory=FrequentTexts)
    videos: int = 0
    answers: FrequentTexts = field(default_factory=FrequentTexts)
    openings: FrequentTexts = field(default_factory=FrequentTexts)
    characters: "array[int]" = field(default_factory=lambda: array("q"))  # of each record
    words: "array[int]" = field(default_factory=lambda: array("q"))
    learnt_characters: int = 0
    with_system: int = 0
    plain: int = 0  # records of plain text, without a question
    cjk: int = 0  # CJK letters
    letters: int = 0
    mostly_cjk: int = 0  # records of which most letters are CJK

    def __len__(self) -> int:
        return len(self.characters)

    def add(self, conversation: Conversation) -> None:
        """Count one record."""
        answers = [message for message in conversation.messages if message.role == "assistant"]
        texts = [message.text for message in conversation.messages]
        images = conversation.images
        self.turns[len(answers)] += 1
        self.images[len(images)] += 1
        for image in images:
            self.image_names.add(image.path or str(hash(image.data)))
        self.videos += len(conversation.videos)
        for answer in answers:
            if answer.loss and not conversation.is_plain:
                self.answers.add(answer.text.strip())
                self.openings.add(opening(answer.text))
            self.learnt_characters += len(answer.text) if answer.loss else 0
        self.characters.append(sum(len(text) for text in texts))
        self.words.append(sum(words_in(text) for text in texts))
        self.with_system += conversation.messages[0].role == "system"
        self.plain += conversation.is_plain
        self._languages(texts)

    def _languages(self, texts: list[str]) -> None:
        cjk = letters = 0
        for text in texts:
            letters += len(_LETTER.findall(text))
            cjk += 0 if text.isascii() else len(_CJK.findall(text))
        self.letters += letters
        self.cjk += cjk
        self.mostly_cjk += 2 * cjk > letters


def opening(text: str) -> str:
    """The first words of a text, or its first characters in scripts without spaces."""
    found = _OPENING.search(text)
    return " ".join(found[0].split()) if found else ""


def words_in(text: str) -> int:
    """The number of words; in scripts without spaces every character is a word."""
    if text.isascii():
        return len(text.split())
    return len(_CJK.sub(" ", text).split()) + len(_CJK.findall(text))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
