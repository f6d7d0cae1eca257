"""The frames of a chat template, found by rendering sentinels in place of the texts of the turns.

What the template writes between two sentinels is its own. No template has to be parsed for that.
"""

import re
from collections.abc import Callable
from itertools import product

from llm.encoding.segments import TurnFrame
from llm.errors import TemplateError

Turn = tuple[str, str]  # role and text

# Sentinels are private-use characters. The white space around them differs from side to side, so that what a template
# leaves of it shows which side it has stripped.
_OPEN, _CLOSE = "\ue000", "\ue001"
_SENTINEL = re.compile(f"{_OPEN}[0-9]+{_CLOSE}")
_LEFT, _RIGHT = "\n ", "\t\n"
_WHITE = "".join(filter(str.isspace, map(chr, range(0x3001))))  # what str.strip() removes
_STRIPS = ("", _WHITE, "\n")


class TurnFrames:
    """The frames of one chat template by the roles of the turns; each sequence of roles is rendered once."""

    def __init__(self, render: Callable[[list[Turn]], str], special_tokens: tuple[str, ...], advice: str) -> None:
        """`render` applies the template to turns; `advice` ends the message of errors."""
        self._render, self._special_tokens, self._advice = render, special_tokens, advice
        self._frames: dict[tuple[str, ...], tuple[TurnFrame, ...]] = {}

    def of(self, roles: tuple[str, ...]) -> tuple[TurnFrame, ...]:
        """One frame per turn, and one whose `before` is what the template writes after the last turn."""
        if roles not in self._frames:
            self._frames[roles] = self._find(roles)
        return self._frames[roles]

    def between(self, roles: tuple[str, ...], left: str = "", right: str = "") -> list[str]:
        """What the template writes before, between and after turns whose texts are put between `left` and `right`.

        Raises TemplateError when it does not write every text once and in order.
        """
        sentinels = [f"{_OPEN}{number}{_CLOSE}" for number in range(len(roles))]
        text = self._render([(role, left + mark + right) for role, mark in zip(roles, sentinels, strict=True)])
        if _SENTINEL.findall(text) != sentinels:
            found = f"the chat template drops, repeats or moves the text of one of the turns {', '.join(roles)}"
            raise TemplateError(f"{found}. {self._advice}")
        return _SENTINEL.split(text)

    def first_token(self, text: str) -> tuple[int, str]:
        """(index, token) of the first special token in the text, the longest of those that start there; (0, "")."""
        found = [(text.index(token), -len(token), token) for token in self._special_tokens if token in text]
        start, _, token = min(found, default=(0, 0, ""))
        return start, token

    def _find(self, roles: tuple[str, ...]) -> tuple[TurnFrame, ...]:
        between = self.between(roles)
        strips = _stripped_characters(between, self.between(roles, _LEFT, _RIGHT))
        frames, end = [], ""
        for number, (before, (left, right)) in enumerate(zip(between, strips, strict=True)):
            rest = before.removeprefix(end)
            end = self._end(roles[: number + 1], between) if roles[number : number + 1] == ("assistant",) else ""
            frames.append(TurnFrame(rest, end, left, right))
        return tuple(frames)

    def _end(self, roles: tuple[str, ...], between: list[str]) -> str:
        """What ends the last turn of `roles`, up to its end mark; empty unless also written where a turn follows."""
        last = self.between(roles)[-1]
        start, token = self.first_token(last)
        end = last[: start + len(token)]
        return end if between[len(roles)].startswith(end) else ""


def _stripped_characters(between: list[str], padded: list[str]) -> list[tuple[str, str]]:
    """Characters that the template strips from the left and right of each turn, from two renderings."""
    lefts, rights = [], []
    for plain, wide in zip(between, padded, strict=True):
        fits = (
            (left, right)
            for left, right in product(_STRIPS, _STRIPS)
            if _RIGHT.rstrip(right) + plain + _LEFT.lstrip(left) == wide
        )
        # A template that does something else to white space: strip nothing, `render_verified` finds records it changes.
        left, right = next(fits, ("", ""))
        lefts.append(left)
        rights.append(right)
    return list(zip(lefts, [*rights[1:], ""], strict=True))
