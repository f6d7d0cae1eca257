"""Token ids of rendered text, piece by piece: the tokenizer's own ids, but no special token from typed text."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llm.errors import ModelError, Place, RecordError, TemplateError

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerBase

# Texts put before a piece so that the tokenizer does not treat it as the start of a text; the first that is not merged
# with the piece is used.
_GUARDS = ("\n", "\ue000", "a")


class PieceTokenizer:
    """Tokenises the pieces of one text separately, each as the tokenizer would in that place of the text.

    Typed text goes through a second tokenizer without the added tokens. Two kinds of added token count as ordinary
    text and are kept there: white space alone, and single characters that are not special (an extended vocabulary).
    A special token of one character that is also in the vocabulary has no other encoding: typing it is an error.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", image_id: int | None = None) -> None:
        """Raises ModelError for a tokenizer that is not of the `tokenizers` library: it has no JSON to inspect."""
        from transformers import PreTrainedTokenizerFast

        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            found = f"{type(tokenizer).__name__} is not a tokenizer of the tokenizers library"
            raise ModelError(f"{found}. Convert it to a tokenizer.json first")
        self.json: str = tokenizer.backend_tokenizer.to_str()
        self._tokenizer = tokenizer
        self._added: dict[int, AddedToken] = dict(tokenizer.added_tokens_decoder)
        text_like = {number for number, token in self._added.items() if _is_text(token)}
        self._reserved = self._added.keys() - text_like - self._unknown_ids(json.loads(self.json)["model"])
        if image_id is not None:
            self._reserved |= {image_id}
        self._plain = _without_added_tokens(self.json, text_like)
        self._template_ids: dict[tuple[str, int | None], list[int]] = {}
        start = self._encode("a")
        self._adds_prefix_space = self._encode(_GUARDS[0] + "a") != self._encode(_GUARDS[0]) + start
        self._restarts_after_special = any(
            self._encode(t.content + "a")[1:] == start for t in self._added.values() if t.special
        )

    def template(self, text: str, last: int | None) -> list[int]:
        """Ids of template text after the id `last` (None: at the start of a text)."""
        before = last if last is None or last in self._added else -1
        if (text, before) not in self._template_ids:
            # A token that strips the white space to its right strips it from the next piece as well.
            strips = last in self._added and self._added[last].rstrip
            piece = text.lstrip() if strips else text
            self._template_ids[text, before] = self._piece(piece, self._starts_text(last), self._encode)
        return self._template_ids[text, before]

    def typed(self, text: str, last: int | None, place: Place) -> list[int]:
        """Ids of typed text after the id `last`, none of them of an added token.

        Raises RecordError when the text cannot be encoded without one.
        """
        ids = self._piece(text, self._starts_text(last), self._encode_plain)
        if self._reserved.isdisjoint(ids):
            return ids
        ids = self._encode_split(text, last)
        if self._reserved.isdisjoint(ids):
            return ids
        token = self._tokenizer.convert_ids_to_tokens(next(number for number in ids if number in self._reserved))
        found = f"its text becomes the special token {token!r} however it is split"
        raise RecordError(place, "text", found, "Rephrase that passage or remove the record", "token-reserved")

    def _encode_split(self, text: str, last: int | None) -> list[int]:
        """Ids of the text split inside every special token it spells, for vocabularies that have it as a word too."""
        contents = (self._added[number].content for number in self._reserved if number in self._added)
        spelled = "|".join(re.escape(content) for content in contents if len(content) > 1)
        cuts = [match.start() + 1 for match in re.finditer(f"(?={spelled})", text)] if spelled else []
        ids: list[int] = []
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            ids += self._piece(text[start:end], self._starts_text(ids[-1] if ids else last), self._encode_plain)
        return ids

    def _piece(self, text: str, starts: bool, encode: Callable[[str], list[int]]) -> list[int]:
        """Ids of one piece, without the space that some tokenizers add unless it begins a text."""
        if starts or not self._adds_prefix_space or not text:
            return encode(text)
        for guard in _GUARDS:
            head, ids = encode(guard), encode(guard + text)
            if ids[: len(head)] == head:
                return ids[len(head) :]
        raise TemplateError(
            f"the tokenizer merges {text[:40]!r} with any text before it, so labels cannot be placed. Use another model"
        )

    def _starts_text(self, last: int | None) -> bool:
        """Whether the tokenizer treats text after the id `last` as the start of a text."""
        return last is None or (self._restarts_after_special and last in self._added)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _encode_plain(self, text: str) -> list[int]:
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def _unknown_ids(self, model: dict[str, Any]) -> set[int]:
        """The id of unknown characters, which typed text may contain, unless it is the BOS or EOS token as well."""
        name = model.get("unk_token")
        if name is None and model.get("unk_id") is not None:
            name = model["vocab"][model["unk_id"]][0]
        if name in (None, self._tokenizer.bos_token, self._tokenizer.eos_token):
            return set()
        return {number for number, token in self._added.items() if token.content == name}


def _is_text(token: "AddedToken") -> bool:
    """Whether a token is white space alone (▁ is sentencepiece's space), or one character that is not special."""
    return not token.content.replace("▁", " ").strip() or (len(token.content) == 1 and not token.special)


def _without_added_tokens(description: str, kept: set[int]) -> "Tokenizer":
    """The tokenizer without its added tokens except `kept`; all ids are unchanged."""
    from tokenizers import Tokenizer

    spec = json.loads(description)
    vocab = spec["model"]["vocab"]
    words = vocab.keys() if isinstance(vocab, dict) else {word for word, _ in vocab}
    tokens = [token for token in spec["added_tokens"] if token["id"] in kept or token["content"] not in words]
    # Ids are assigned in order: a removed token before a kept one is replaced by private-use characters.
    replaced = [
        token if token["id"] in kept else token | {"content": f"\uf8ff\ue000{token['id']}\ue000\uf8ff"}
        for token in tokens
    ]
    spec |= {"added_tokens": replaced if kept else [], "truncation": None, "padding": None}
    plain = Tokenizer.from_str(json.dumps(spec))
    old = [(token["content"], token["id"]) for token in replaced if token["id"] in kept]
    assert all(plain.token_to_id(content) == number for content, number in old), "an added token's id moved"
    return plain
