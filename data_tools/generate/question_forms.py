"""Questions in the forms that people type: inside longer messages, in haste and without punctuation, or both."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from data_tools.generate.identity_texts import QaPair

LATIN = re.compile(r"[a-z]")
PAUSE = re.compile(r"[,，、;；:：]\s*")
STOP = re.compile(r"[.?!。？！…]+(?:\s+|$)|[。？！…]+")  # the full stop of a number is none


@dataclass(frozen=True, slots=True)
class Forms:
    """What may happen to a question.

    Args:
        frames: Longer messages around a `{question}`.
        careless: Spellings, each with what a hurried writer puts in its place; two of them at most are used.
        apart: Questions, normalised, that no form may equal, since they are kept for evaluation.
    """

    frames: tuple[str, ...] = ()
    careless: tuple[tuple[str, str], ...] = ()
    apart: frozenset[str] = frozenset()

    def of(self, turns: Sequence[QaPair], dice: random.Random) -> list[QaPair]:
        """The turns, of which the second and third of every four are asked in another form.

        So a question with two answers keeps one in its plain form, and every second of the others has a system prompt.
        """
        if not self.frames:
            return list(turns)
        return [
            (self._form(question, number // 2, dice), answer) if number % 4 in (1, 2) else (question, answer)
            for number, (question, answer) in enumerate(turns)
        ]

    def _form(self, question: str, number: int, dice: random.Random) -> str:
        """The question framed, typed carelessly, framed, or both, in turn."""
        form = question
        if number % 4 != 1:
            form = dice.choice(self.frames).replace("{question}", form)
        if number % 4 in (1, 3):
            form = in_haste(form, self.careless, dice)
        return question if normalised(form) in self.apart else form


def in_haste(text: str, careless: Sequence[tuple[str, str]], dice: random.Random) -> str:
    """The text in lower case without punctuation, with at most two careless spellings."""
    typed = STOP.sub(" ", PAUSE.sub(" ", text.lower())).strip()
    found = [pair for pair in careless if re.search(_spelling(pair[0]), typed)]
    for usual, hurried in dice.sample(found, min(2, len(found))):
        typed = hurried.join(re.split(_spelling(usual), typed, maxsplit=1))
    return typed


def _spelling(text: str) -> str:
    """A pattern of the text: a complete word where it is in Latin letters."""
    return rf"\b{re.escape(text)}\b" if LATIN.match(text) else re.escape(text)


def normalised(question: str) -> str:
    """A question without case, spacing and punctuation, to compare paraphrases."""
    return re.sub(r"\W+", " ", question.lower()).strip()
