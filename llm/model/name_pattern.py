"""Regular expressions from untrusted files, matched in polynomial time.

`re` takes exponential time for some short patterns. Here every part of a pattern maps the set of positions where it
may begin to the set where it may end, so that no position is tried twice. Supported are characters, `.`, classes,
`\\d \\w \\s` and their negations, groups, `|`, `? * + {m,n}` (lazy ones too: in a full match they are the same),
`^ $ \\b` and lookahead; all else is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

LONGEST = 4000  # characters of a pattern
MOST_TIMES = 100  # of {m,n}

Positions = frozenset[int]
Matcher = Callable[[str, Positions], Positions]

_FLAT = re.compile(r"\\[dDwWsS]|\\[^a-zA-Z0-9]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\](){}|?*+^$]", re.DOTALL)
_TIMES = re.compile(r"([*+?]|\{(\d{1,3})(,(\d{0,3}))?\})\??")


class UnknownPatternError(ValueError):
    """A pattern with an unsupported part; the message names it and where it is."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A function like `re.compile(pattern).fullmatch`, as a bool. Raises UnknownPatternError."""
    if len(pattern) > LONGEST:
        raise UnknownPatternError(f"{len(pattern):,} characters, more than {LONGEST:,}")
    reader = _Parser(pattern)
    matcher = reader.choice()
    if reader.at < len(pattern):
        raise UnknownPatternError(f"{pattern[reader.at]!r} at {reader.at}")
    return lambda text: len(text) in matcher(text, frozenset({0}))


@dataclass(slots=True)
class _Parser:
    """A recursive-descent parser of a pattern."""

    pattern: str
    at: int = 0

    def choice(self) -> Matcher:
        """Alternatives, up to a closing bracket or the end."""
        ways = [self.sequence()]
        while self.took("|"):
            ways.append(self.sequence())
        return lambda text, positions: frozenset().union(*(way(text, positions) for way in ways))

    def sequence(self) -> Matcher:
        """Consecutive parts."""
        parts: list[Matcher] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            parts.append(self.repeated(self.part()))
        return lambda text, positions: reduce(
            lambda begun, part: part(text, begun) if begun else begun, parts, positions
        )

    def part(self) -> Matcher:
        """One group, anchor, lookahead or character."""
        if self.took("(?=") or self.took("(?!"):
            wanted = self.pattern[self.at - 1] == "="
            inner = self.closed()
            return lambda text, positions: frozenset(
                at for at in positions if bool(inner(text, frozenset({at}))) == wanted
            )
        if self.took("(?:") or (not self.pattern.startswith("(?", self.at) and self.took("(")):
            return self.closed()
        for mark, holds in (("^", _at_start), ("$", _at_end), ("\\b", _at_edge)):
            if self.took(mark):
                return _anchor(holds)
        return self.character()

    def closed(self) -> Matcher:
        """The alternatives of a group, after its opening bracket."""
        inner = self.choice()
        if not self.took(")"):
            raise UnknownPatternError("a bracket that is not closed")
        return inner

    def character(self) -> Matcher:
        """A character or character class, matched by `re`, which has nothing to try here."""
        found = _FLAT.match(self.pattern, self.at)
        if found is None:
            raise UnknownPatternError(f"{self.pattern[self.at : self.at + 3]!r} at {self.at}")
        self.at = found.end()
        try:
            fits = re.compile(found[0]).fullmatch
        except re.error as cause:
            raise UnknownPatternError(f"{found[0]!r}: {cause}") from cause
        return lambda text, positions: frozenset(at + 1 for at in positions if at < len(text) and fits(text[at]))

    def repeated(self, part: Matcher) -> Matcher:
        """The part with the quantifier that follows it."""
        found = _TIMES.match(self.pattern, self.at)
        if found is None:
            return part
        self.at = found.end()
        least, most = _times(found)
        if max(least, most or 0) > MOST_TIMES:
            raise UnknownPatternError(f"{found[0]!r} repeats more than {MOST_TIMES} times")
        return lambda text, positions: _repeat(part, text, positions, least, most)

    def took(self, text: str) -> bool:
        """Whether `text` follows in the pattern; if so it is consumed."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found


def _anchor(holds: Callable[[str, int], bool]) -> Matcher:
    return lambda text, positions: frozenset(at for at in positions if holds(text, at))


def _times(found: re.Match[str]) -> tuple[int, int | None]:
    """The least and most repetitions of a quantifier; None: unbounded."""
    if not found[2]:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[1]]
    least = int(found[2])
    return least, least if found[3] is None else int(found[4]) if found[4] else None


def _repeat(part: Matcher, text: str, positions: Positions, least: int, most: int | None) -> Positions:
    for _ in range(least):
        positions = part(text, positions)
    reached, fresh, rounds = positions, positions, 0
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
