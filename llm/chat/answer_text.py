"""The text of an answer as its tokens come, without decoding the earlier ones again."""

from collections.abc import Callable

UNFINISHED = "\ufffd"  # what an incomplete UTF-8 sequence decodes to

Decode = Callable[[list[int]], str]


class GrowingText:
    """What `decode` gives for all ids so far, in two parts: text that no later id changes, and the rest.

    A decoder treats the beginning of a text in its own way (SentencePiece drops a blank there), so new ids are decoded
    after some earlier ones that have text of their own, which is cut off again. Text is settled where a character is
    complete. Byte tokens (`<0xE4>`) settle with the first token of another kind: one invalid byte spoils all characters
    of their run.
    """

    def __init__(self, decode: Decode, byte_ids: frozenset[int] = frozenset()) -> None:
        self.settled = ""  # text that was settled and not taken yet
        self.rest = ""
        self._decode, self._bytes = decode, byte_ids
        self._ids: list[int] = []
        self._start = 0  # the first id that is decoded again
        self._border = 0  # ids before it are settled
        self._before = ""  # text of the ids from `_start` to `_border`
        self._taken = 0  # characters
        self._in_bytes = False  # the last id that has text is a byte

    def add(self, token: int) -> None:
        """One more id."""
        self._ids.append(token)
        text = self._decode(self._ids[self._start :])
        if not text.startswith(self._before):  # a decoder that looks further back
            text = self._decode_all()
        self.rest = text[len(self._before) :]
        if token in self._bytes:
            self._in_bytes = True
        elif self._in_bytes and self._decode([token]):  # ids without text, such as special ones, end no run
            self._in_bytes = False
        if not self._in_bytes and not self.rest.endswith(UNFINISHED):
            self._settle(text)

    def take(self, count: int) -> str:
        """Remove the first `count` settled characters."""
        taken, self.settled = self.settled[:count], self.settled[count:]
        self._taken += count
        return taken

    def _settle(self, text: str) -> None:
        self.settled, self.rest = self.settled + self.rest, ""
        alone = self._decode(self._ids[self._border :])
        if alone:
            self._start, text = self._border, alone
        self._border, self._before = len(self._ids), text

    def _decode_all(self) -> str:
        self._start, self._before = 0, ""
        text = self._decode(self._ids)
        self.settled, self._before = "", text[: self._taken]
        return text


class AnswerText:
    """An answer's text: what of it can be shown, up to a stop text and without what the chat template opens it with."""

    def __init__(
        self, decode: Decode, stop: tuple[str, ...] = (), opening: str = "", byte_ids: frozenset[int] = frozenset()
    ) -> None:
        self._stop, self._opening = stop, opening
        self._text = GrowingText(decode, byte_ids)

    def add(self, token: int) -> bool:
        """One more token; returns whether a stop text is complete."""
        self._text.add(token)
        text = self._unshown()
        return any(word in text for word in self._stop)

    def ready(self) -> str:
        """The text that can be shown now. An incomplete character is waited for, as is the start of a stop text."""
        if self._text.rest:
            return ""
        text = self._unshown()
        count = len(text) - stop_prefix_length(text, self._stop)
        if not count:
            return ""
        self._text.take(len(self._text.settled) - len(text) + count)
        self._opening = ""
        return text[:count]

    def last(self) -> str:
        """The text that was not shown, up to the first stop text."""
        return cut_at_stop(self._unshown(), self._stop)

    def _unshown(self) -> str:
        return without_opening(self._text.settled + self._text.rest, self._opening)


def without_opening(text: str, opening: str) -> str:
    """An answer without what the chat template would write before it, also where that is cut off."""
    return "" if opening.startswith(text) else text.removeprefix(opening)


def cut_at_stop(text: str, stop: tuple[str, ...]) -> str:
    """The text before the first stop text."""
    for word in stop:
        text = text.split(word)[0]
    return text


def stop_prefix_length(text: str, stop: tuple[str, ...]) -> int:
    """Number of characters at the end that may be the start of a stop text, and are not shown yet."""
    return max((size for word in stop for size in range(1, len(word)) if text.endswith(word[:size])), default=0)
