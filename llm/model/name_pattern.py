"""Regular expressions from other people's files, matched in bounded time.

`re` takes exponential time for some patterns of a few characters. Here every part of a pattern maps the set of places
where it may begin to the set of those where it may end, so no way through the text is followed twice. Known are
characters, `.`, classes, `\\d \\w \\s` and their negations, groups, `|`, `? * + {m,n}` (lazy ones match alike here, as
only whole texts are matched), `^ $ \\b`, and looking ahead; whatever else is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

LONGEST = 4000  # characters of a pattern
MOST_TIMES = 100  # of {m,n}

Places = frozenset[int]
Matcher = Callable[[str, Places], Places]

_FLAT = re.compile(r"\\[dDwWsS]|\\[^a-zA-Z0-9]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\](){}|?*+^$]", re.DOTALL)
_TIMES = re.compile(r"([*+?]|\{(\d{1,3})(,(\d{0,3}))?\})\??")


class UnknownPatternError(ValueError):
    """A pattern with something that is not known here; the message says what, and where."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Whether a text is matched as by `re.fullmatch`. Raises UnknownPatternError."""
    if len(pattern) > LONGEST:
        raise UnknownPatternError(f"{len(pattern):,} characters, more than {LONGEST:,}")
    reader = _Reader(pattern)
    whole = reader.choice()
    if reader.at < len(pattern):
        raise UnknownPatternError(f"{pattern[reader.at]!r} at {reader.at}")
    return lambda text: len(text) in whole(text, frozenset({0}))


@dataclass(slots=True)
class _Reader:
    """Reads a pattern from left to right."""

    pattern: str
    at: int = 0

    def choice(self) -> Matcher:
        """Alternatives, up to a bracket that closes them or the end."""
        ways = [self.sequence()]
        while self.took("|"):
            ways.append(self.sequence())
        return lambda text, places: frozenset().union(*(way(text, places) for way in ways))

    def sequence(self) -> Matcher:
        """Parts in a row."""
        parts: list[Matcher] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            parts.append(self.repeated(self.part()))
        return lambda text, places: reduce(lambda begun, part: part(text, begun) if begun else begun, parts, places)

    def part(self) -> Matcher:
        """One group, mark of a place or character."""
        if self.took("(?=") or self.took("(?!"):
            wanted = self.pattern[self.at - 1] == "="
            inner = self.closed()
            return lambda text, places: frozenset(at for at in places if bool(inner(text, frozenset({at}))) == wanted)
        if self.took("(?:") or (not self.pattern.startswith("(?", self.at) and self.took("(")):
            return self.closed()
        for mark, holds in (("^", _at_start), ("$", _at_end), ("\\b", _at_edge)):
            if self.took(mark):
                return _standing(holds)
        return self.character()

    def closed(self) -> Matcher:
        """The alternatives of a group whose bracket was opened."""
        inner = self.choice()
        if not self.took(")"):
            raise UnknownPatternError("a bracket that is not closed")
        return inner

    def character(self) -> Matcher:
        """A character or a class of them: short enough for `re`, which has no choice in it."""
        found = _FLAT.match(self.pattern, self.at)
        if found is None:
            raise UnknownPatternError(f"{self.pattern[self.at : self.at + 3]!r} at {self.at}")
        self.at = found.end()
        try:
            fits = re.compile(found[0]).fullmatch
        except re.error as cause:
            raise UnknownPatternError(f"{found[0]!r}: {cause}") from cause
        return lambda text, places: frozenset(at + 1 for at in places if at < len(text) and fits(text[at]))

    def repeated(self, part: Matcher) -> Matcher:
        """The part as often as the mark behind it says."""
        found = _TIMES.match(self.pattern, self.at)
        if found is None:
            return part
        self.at = found.end()
        least, most = _times(found)
        if max(least, most or 0) > MOST_TIMES:
            raise UnknownPatternError(f"{found[0]!r} repeats more than {MOST_TIMES} times")
        return lambda text, places: _repeat(part, text, places, least, most)

    def took(self, text: str) -> bool:
        """Whether the pattern goes on with `text`, which is then behind us."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found


def _standing(holds: Callable[[str, int], bool]) -> Matcher:
    return lambda text, places: frozenset(at for at in places if holds(text, at))


def _times(found: re.Match[str]) -> tuple[int, int | None]:
    """The least and most repetitions of a mark; None: without end."""
    if not found[2]:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[1]]
    least = int(found[2])
    return least, least if found[3] is None else int(found[4]) if found[4] else None


def _repeat(part: Matcher, text: str, places: Places, least: int, most: int | None) -> Places:
    for _ in range(least):
        places = part(text, places)
    reached, fresh, rounds = places, places, 0
    while fresh and (most is None or rounds < most - least):
        fresh = part(text, fresh) - reached
        reached, rounds = reached | fresh, rounds + 1
    return reached


def _at_start(text: str, at: int) -> bool:
    return at == 0


def _at_end(text: str, at: int) -> bool:
    return at == len(text)


def _at_edge(text: str, at: int) -> bool:
    return _is_word(text[at - 1 : at] if at else "") != _is_word(text[at : at + 1])


def _is_word(character: str) -> bool:
    return bool(re.fullmatch(r"\w", character))
