"""Rendered text, in which typed text that spells a token is known by its place."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from llm.encoding.added_tokens import Span, Spellings, longest_at, longest_before

# Private-use characters, two of which mark typed tokens: the first that no text of the conversation holds itself.
_MARKS = range(0xF0000, 0x10FFFE)


@dataclass(frozen=True, slots=True)
class RenderedText:
    """What a template writes, with an image as `<image>`.

    `typed` are the spans of text from the record that spells a token and is none; every other token in it is one.
    """

    text: str
    typed: tuple[Span, ...] = ()

    def __add__(self, other: "RenderedText") -> "RenderedText":
        at = len(self.text)
        return RenderedText(self.text + other.text, (*self.typed, *_moved(other.typed, at)))

    def part(self, start: int, end: int) -> "RenderedText":
        """The text from `start` to `end`."""
        inside = (span for span in self.typed if span[0] < end and span[1] > start)
        clipped = ((max(first, start), min(last, end)) for first, last in inside)
        return RenderedText(self.text[start:end], tuple(_moved(clipped, -start)))


class Marker:
    """Marks typed tokens in the texts of a conversation, and finds them again in what a template makes of the texts."""

    def __init__(self, texts: Collection[str]) -> None:
        """`texts` are all texts of the conversation."""
        used = set().union(*texts)
        free = (mark for number in _MARKS if (mark := chr(number)) not in used)
        self._after, self._before = next(free), next(free)
        self._words: set[str] = set()

    def mark(self, text: str, spellings: Spellings) -> str:
        """The text with a mark beside each token that it spells.

        The mark follows a token that begins the text and precedes the others, since templates look at what a text
        begins and ends with (Qwen's at `<tool_response>`).
        """
        pieces, done = [], 0
        for start, end in spellings.spans(text):
            token = text[start:end]
            self._words.add(token)
            begins = not text[:start].strip()
            pieces += [text[done:start], token + self._after if begins else self._before + token]
            done = end
        return "".join(pieces) + text[done:]

    def unmark(self, marked: str) -> RenderedText:
        """The text without marks, and the spans of the tokens beside them."""
        clean: list[str] = []
        marks: list[tuple[str, int]] = []
        length = 0
        for character in marked:
            if character in (self._after, self._before):
                marks.append((character, length))
            else:
                clean.append(character)
                length += 1
        text = "".join(clean)
        return RenderedText(text, tuple(sorted(set(self._spans(text, marks)))))

    def _spans(self, text: str, marks: list[tuple[str, int]]) -> Iterator[Span]:
        for mark, place in marks:
            find = longest_before if mark == self._after else longest_at
            yield from find(self._words, text, place)


def _moved(spans: Collection[Span] | Iterator[Span], by: int) -> Iterator[Span]:
    return ((start + by, end + by) for start, end in spans)
