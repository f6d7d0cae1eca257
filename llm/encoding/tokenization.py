"""How text becomes token ids, piece by piece: the tokenizer's own ids, but no special token from typed text."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llm.errors import ModelError, Place, RecordError, TemplateError

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerBase

# Texts put before a piece so that the tokenizer sees a piece from the middle; the first whose ids stay apart is used.
_GUARDS = ("\n", "\ue000", "a")


class PieceTokenizer:
    """Tokenises the pieces of one text apart, each as it would be tokenised in its place.

    Typed text is read by a second tokenizer that has never heard of the added tokens. Two kinds of added token are
    ordinary text and stay: white space alone, and single characters that are not special (characters somebody added
    to the vocabulary). A special token of one character that is also in the vocabulary cannot be written in any
    other way: typing it is an error.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", image_id: int | None = None) -> None:
        """Raises ModelError for a tokenizer that is not of the `tokenizers` library: it has no description to read."""
        from transformers import PreTrainedTokenizerFast

        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            found = f"{type(tokenizer).__name__} is not a tokenizer of the tokenizers library"
            raise ModelError(f"{found}. Convert it to a tokenizer.json first")
        self.json: str = tokenizer.backend_tokenizer.to_str()
        self._tokenizer = tokenizer
        self._added: dict[int, AddedToken] = dict(tokenizer.added_tokens_decoder)
        text_like = {number for number, token in self._added.items() if _is_text(token)}
        self._reserved = self._added.keys() - text_like - self._unknown(json.loads(self.json)["model"])
        if image_id is not None:
            self._reserved |= {image_id}
        self._plain = _without_added(self.json, text_like)
        self._template_ids: dict[tuple[str, int | None], list[int]] = {}
        start = self._whole("a")
        self._prefixes = self._whole(_GUARDS[0] + "a") != self._whole(_GUARDS[0]) + start
        self._restarts = any(self._whole(t.content + "a")[1:] == start for t in self._added.values() if t.special)

    def template(self, text: str, last: int | None) -> list[int]:
        """The ids of template text that stands behind the id `last` (None: at the start)."""
        before = last if last is None or last in self._added else -1
        if (text, before) not in self._template_ids:
            # A token that takes the white space to its right takes it from the next piece as well.
            swallows = last in self._added and self._added[last].rstrip
            piece = text.lstrip() if swallows else text
            self._template_ids[text, before] = self._piece(piece, self._begins(last), self._whole)
        return self._template_ids[text, before]

    def typed(self, text: str, last: int | None, place: Place) -> list[int]:
        """The ids of typed text that stands behind the id `last`: never an added token's.

        Raises RecordError when the text cannot be written without one.
        """
        ids = self._piece(text, self._begins(last), self._known)
        if self._reserved.isdisjoint(ids):
            return ids
        ids = self._cut(text, last)
        if self._reserved.isdisjoint(ids):
            return ids
        token = self._tokenizer.convert_ids_to_tokens(next(number for number in ids if number in self._reserved))
        found = f"its text becomes the special token {token!r} however it is split"
        raise RecordError(place, "text", found, "Write that passage otherwise or remove the record", "token-reserved")

    def _cut(self, text: str, last: int | None) -> list[int]:
        """Ids of the text cut inside all that spells a special token: for vocabularies that hold it as a word."""
        contents = (self._added[number].content for number in self._reserved if number in self._added)
        spelled = "|".join(re.escape(content) for content in contents if len(content) > 1)
        cuts = [match.start() + 1 for match in re.finditer(f"(?={spelled})", text)] if spelled else []
        ids: list[int] = []
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            ids += self._piece(text[start:end], self._begins(ids[-1] if ids else last), self._known)
        return ids

    def _piece(self, text: str, begins: bool, encode: Callable[[str], list[int]]) -> list[int]:
        """Ids of one piece; unless it begins a text, without the space that some tokenizers put before a first word."""
        if begins or not self._prefixes or not text:
            return encode(text)
        for guard in _GUARDS:
            head, ids = encode(guard), encode(guard + text)
            if ids[: len(head)] == head:
                return ids[len(head) :]
        raise TemplateError(
            f"the tokenizer merges {text[:40]!r} with whatever stands before it; it cannot be trained on"
        )

    def _begins(self, last: int | None) -> bool:
        """True where the tokenizer treats what follows the id `last` as the beginning of a text."""
        return last is None or (self._restarts and last in self._added)

    def _whole(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _known(self, text: str) -> list[int]:
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def _unknown(self, model: dict[str, Any]) -> set[int]:
        """The id written for unknown characters: it controls nothing, unless it is the begin or end token as well."""
        name = model.get("unk_token")
        if name is None and model.get("unk_id") is not None:
            name = model["vocab"][model["unk_id"]][0]
        if name in (None, self._tokenizer.bos_token, self._tokenizer.eos_token):
            return set()
        return {number for number, token in self._added.items() if token.content == name}


def _is_text(token: "AddedToken") -> bool:
    """White space alone (sentencepiece writes a space as a low line), or one character that is not special."""
    return not token.content.replace("▁", " ").strip() or (len(token.content) == 1 and not token.special)


def _without_added(description: str, kept: set[int]) -> "Tokenizer":
    """The tokenizer without its added tokens except `kept`; all ids stay what they were."""
    from tokenizers import Tokenizer

    spec = json.loads(description)
    vocab = spec["model"]["vocab"]
    words = vocab.keys() if isinstance(vocab, dict) else {word for word, _ in vocab}
    tokens = [token for token in spec["added_tokens"] if token["id"] in kept or token["content"] not in words]
    # Ids are given in order: a dropped token in front of a kept one leaves a stand-in that nobody types.
    stand_ins = [
        token if token["id"] in kept else token | {"content": f"\uf8ff\ue000{token['id']}\ue000\uf8ff"}
        for token in tokens
    ]
    spec |= {"added_tokens": stand_ins if kept else [], "truncation": None, "padding": None}
    plain = Tokenizer.from_str(json.dumps(spec))
    old = [(token["content"], token["id"]) for token in stand_ins if token["id"] in kept]
    assert all(plain.token_to_id(content) == number for content, number in old), "an added token's id moved"
    return plain
