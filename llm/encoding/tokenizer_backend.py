"""The tokenizers of `TextTokenizer`: the given one, and one whose control tokens cannot be typed."""

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm.encoding.added_tokens import Span, Spellings
from llm.encoding.rendered_text import RenderedText
from llm.errors import ModelError, TemplateError

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

# Texts put before a piece so that the tokenizer does not treat it as the start of a text; the first that is not merged
# with the piece is used.
_GUARDS = ("\n", "\ue000", "a")
SHORT = 100  # characters of a text whose encoding is remembered: what templates write before answers
_MOST = 1000  # such texts


class LeakError(Exception):
    """Typed text became a control token; `token` is its id."""

    def __init__(self, token: int) -> None:
        super().__init__(token)
        self.token = token


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tokenised text, with the index in `ids` of each control token by which it can be cut, by its span."""

    text: str
    ids: list[int]
    places: dict[Span, int]


class Backend:
    """A tokenizer in whose texts control tokens are those that are written there, and no others."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        spellings: Spellings,
        numbers: Mapping[str, int],
        breaks: Collection[int],
        forbidden: Collection[int] = (),
    ) -> None:
        """`numbers` are the ids of the control tokens that `spellings` finds; `forbidden` ids raise LeakError.

        `breaks` are control tokens at which a text can be cut: tokens that are found before the text is normalized.
        """
        self._tokenizer, self._spellings, self._numbers = tokenizer, spellings, numbers
        self._breaks, self._forbidden, self._control = set(breaks), set(forbidden), set(numbers.values())
        self._short: dict[str, Encoded] = {}

    def encode(self, text: str) -> Encoded:
        """A text without begin and end token. Raises LeakError for a control token that is not written in the text."""
        if text in self._short:
            return self._short[text]
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        encoded = Encoded(text, ids, self._places(text, ids))
        if len(text) <= SHORT and len(self._short) < _MOST:
            self._short[text] = encoded
        return encoded

    def breaks(self, text: str) -> list[Span]:
        """The control tokens by which the text can be cut."""
        spans = self._spellings.spans(text)
        return [span for span in spans if self._numbers.get(text[slice(*span)]) in self._breaks]

    def continuation(self, text: str) -> list[int]:
        """Ids of a text that continues another one: without the space that some tokenizers put before a text.

        Raises TemplateError when the tokenizer joins it with any text before it.
        """
        if not text or self.encode(_GUARDS[0] + "a").ids == self.encode(_GUARDS[0]).ids + self.encode("a").ids:
            return self.encode(text).ids
        for guard in _GUARDS:
            head, ids = self.encode(guard).ids, self.encode(guard + text).ids
            if ids[: len(head)] == head:
                return ids[len(head) :]
        raise TemplateError(
            f"the tokenizer merges {text[:40]!r} with any text before it, so labels cannot be placed. Use another model"
        )

    def _places(self, text: str, ids: list[int]) -> dict[Span, int]:
        numbers, control = self._numbers, self._control
        found = [index for index, number in enumerate(ids) if number in control]
        written = [
            (span, numbers[token]) for span in self._spellings.spans(text) if (token := text[slice(*span)]) in numbers
        ]
        if [ids[index] for index in found] != [number for _, number in written]:
            raise LeakError(ids[found[0]] if found else -1)
        if not self._forbidden.isdisjoint(ids):
            raise LeakError(next(number for number in ids if number in self._forbidden))
        return {span: index for (span, number), index in zip(written, found, strict=True) if number in self._breaks}


class Reader:
    """Tokenises texts that have prefixes in common: what is before a control token is not tokenised again.

    A control token separates the texts on its sides, so the ids are those of the complete text.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: list[Encoded] = []

    def ids(self, text: str) -> list[int]:
        """Ids of the complete text."""
        known, start, index = self._shared(text)
        rest = self._backend.encode(text[start:])
        ids = known.ids[:index] + rest.ids if known else rest.ids
        if known is None or len(rest.text) > SHORT:
            places = {(first + start, last + start): at + index for (first, last), at in rest.places.items()}
            earlier = {span: at for span, at in known.places.items() if at < index} if known else {}
            self._known.append(Encoded(text, ids, earlier | places))
        return ids

    def continuation(self, text: str) -> list[int]:
        """Ids of a text that continues another one."""
        return self._backend.continuation(text)

    def _shared(self, text: str) -> tuple[Encoded | None, int, int]:
        """An earlier text, where the last control token that both have begins, and its index in the ids."""
        for known in self._known:
            if known.text.startswith(text):
                spans = [span for span in known.places if span[1] <= len(text)]
                return (known, spans[-1][0], known.places[spans[-1]]) if spans else (None, 0, 0)
        for start, end in reversed(self._backend.breaks(text)) if self._known else ():
            for known in self._known:
                if (start, end) in known.places and known.text.startswith(text[:end]):
                    return known, start, known.places[start, end]
        return None, 0, 0


class SplitReader:
    """Tokenises texts piece by piece, cut at a mark: for typed tokens that are words of the vocabulary, too."""

    def __init__(self, backend: Backend, mark: str) -> None:
        self._backend, self._mark = backend, mark

    def ids(self, text: str) -> list[int]:
        """Ids of the complete text."""
        first, *rest = text.split(self._mark)
        return self._backend.encode(first).ids + self._joined(rest)

    def continuation(self, text: str) -> list[int]:
        """Ids of a text that continues another one."""
        return self._joined(text.split(self._mark))

    def _joined(self, pieces: list[str]) -> list[int]:
        return [number for piece in pieces for number in self._backend.continuation(piece)]


def exact_backend(
    description: str, control: "Mapping[int, AddedToken]", numbers: Mapping[str, int], spellings: Spellings
) -> Backend:
    """The tokenizer itself, without truncation and padding."""
    from tokenizers import Tokenizer

    spec = json.loads(description) | {"truncation": None, "padding": None}
    breaks = [number for number, token in control.items() if not token.normalized]
    return Backend(Tokenizer.from_str(json.dumps(spec)), spellings, numbers, breaks)


class Guard:
    """A tokenizer whose control tokens have names that cannot be typed, and texts written with these names."""

    def __init__(
        self,
        description: str,
        control: "Mapping[int, AddedToken]",
        numbers: Mapping[str, int],
        spellings: Spellings,
        reserved: Collection[int],
    ) -> None:
        """`numbers` are the ids of the control tokens that `spellings` finds; typed text becomes no `reserved` id.

        Raises ModelError for a vocabulary that leaves no ids for other names.
        """
        nonce = secrets.token_hex(4)
        self.split_mark = f"\uf8ff{nonce}\uf8ff"
        self._spellings = spellings
        self._names = {content: f"\uf8ff{nonce}-{number}\uf8ff" for number, content in enumerate(numbers)}
        spec = json.loads(description) | {"truncation": None, "padding": None}
        spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] not in numbers]
        added = [_renamed(self._names[content], control.get(number)) for content, number in numbers.items()]
        tokenizer = _with_tokens(spec, added)
        ids = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
        names = {name: ids[name] for name in self._names.values()}
        control_ids = {ids[self._names[content]]: number for content, number in numbers.items()}
        text_ids = {ids[token["content"]]: int(token["id"]) for token in spec["added_tokens"]}
        self._originals = {number: text_ids[number] for number in text_ids if number != text_ids[number]} | control_ids
        if not self._originals.keys().isdisjoint(_vocabulary_ids(spec["model"])):
            raise ModelError("the vocabulary of the tokenizer has gaps, so its special tokens cannot be separated")
        forbidden = set(reserved) - self._originals.keys()
        self.backend = Backend(tokenizer, Spellings(added), names, names.values(), forbidden)

    def text(self, rendered: RenderedText, split: bool) -> str:
        """The text with the names of its control tokens; with `split` typed tokens are cut by `split_mark`."""
        text, typed = rendered.text, rendered.typed
        changes = [(start + 1, start + 1, self.split_mark) for start, _ in typed] if split else []
        for start, end in self._spellings.spans(text):
            if text[start:end] in self._names and not any(first < end and start < last for first, last in typed):
                changes.append((start, end, self._names[text[start:end]]))
        pieces, done = [], 0
        for start, end, new in sorted(changes):
            pieces += [text[done:start], new]
            done = end
        return "".join(pieces) + text[done:]

    def original(self, ids: list[int]) -> list[int]:
        """The given tokenizer's ids."""
        return [self._originals.get(number, number) for number in ids]


def _renamed(name: str, token: "AddedToken | None") -> "AddedToken":
    from tokenizers import AddedToken

    strips = {"lstrip": token.lstrip, "rstrip": token.rstrip} if token else {}
    return AddedToken(name, special=True, normalized=False, **strips)


def _with_tokens(spec: dict[str, Any], tokens: "list[AddedToken]") -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_tokens(tokens)
    return tokenizer


def _vocabulary_ids(model: dict[str, Any]) -> set[int]:
    vocabulary = model["vocab"]
    return set(vocabulary.values()) if isinstance(vocabulary, dict) else set(range(len(vocabulary)))
