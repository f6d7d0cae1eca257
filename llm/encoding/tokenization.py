"""Token ids of rendered text: those that the tokenizer gives the complete text, but no token from typed text."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm.encoding.added_tokens import Spellings, control_tokens, image_placeholder
from llm.encoding.message_text import IMAGE_PLACEHOLDER
from llm.encoding.rendered_text import RenderedText
from llm.encoding.tokenizer_backend import Guard, LeakError, Reader, SplitReader, exact_backend
from llm.errors import ModelError, Place, RecordError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pair = tuple[RenderedText, RenderedText]  # a prompt and what follows it
PairIds = tuple[list[int], list[int]]


class TextTokenizer:
    """Tokenises rendered texts.

    A text in which no typed text spells a token has exactly the ids that the tokenizer gives it as a whole. Otherwise
    the tokens that the template wrote are replaced by others that cannot be typed (`Guard`), and what was typed is
    tokenised with the text around it. A special token of one character that is also in the vocabulary has no other
    encoding: typing it is an error.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", image_id: int | None = None) -> None:
        """Raises ModelError for a tokenizer that is not of the `tokenizers` library: it has no JSON to inspect."""
        from transformers import PreTrainedTokenizerFast

        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            found = f"{type(tokenizer).__name__} is not a tokenizer of the tokenizers library"
            raise ModelError(f"{found}. Convert it to a tokenizer.json first")
        self.json: str = tokenizer.backend_tokenizer.to_str()
        self._tokenizer = tokenizer
        self._bos = str(tokenizer.bos_token or "")
        self._control = control_tokens(tokenizer)
        self._spellings = Spellings([*self._control.values(), image_placeholder()])
        self._ids = {token.content: number for number, token in self._control.items()}
        # An image is written `<image>`, which need not be the name of a model's image token.
        self._named_images = image_id is None or self._ids.get(IMAGE_PLACEHOLDER) == image_id
        if image_id is not None:
            self._ids[IMAGE_PLACEHOLDER] = image_id
        # Typed text may become the id of unknown characters.
        unknown = self._unknown_ids(json.loads(self.json)["model"])
        self._reserved = {content: number for content, number in self._ids.items() if number not in unknown}
        self._exact = exact_backend(self.json, self._control, self._reserved, self._spellings)

    def ids(self, rendered: RenderedText, place: Place) -> list[int]:
        """Ids of one text. Raises RecordError when typed text cannot be encoded without a special token."""
        [(ids, _)] = self.continued([(rendered, RenderedText(""))], place)
        return ids

    def continued(self, pairs: Sequence[Pair], place: Place) -> list[PairIds]:
        """Ids of prompts, and of the texts that follow them.

        The ids of a prompt are those of the prompt alone, which is all that a model sees at inference. Those of what
        follows are the rest of the ids of both together. Where the tokenizer joins the two across the border
        (`Assistant: ` and `Hi` with the token ` Hi`), they are the ids of the second alone: the prompt's last token is
        there already, so that is what a model generates. Raises RecordError when typed text cannot be encoded without
        a special token.
        """
        typed = any(text.typed for pair in pairs for text in pair)
        unnamed = not self._named_images and any(IMAGE_PLACEHOLDER in prompt.text for prompt, _ in pairs)
        if typed or unnamed:
            return self._guarded(pairs, place)
        try:
            return _read(Reader(self._exact), [(prompt.text, after.text) for prompt, after in pairs], self._bos)
        except LeakError:  # typed text that a normalizer turns into a token, such as wide letters
            return self._guarded(pairs, place)

    def _guarded(self, pairs: Sequence[Pair], place: Place) -> list[PairIds]:
        try:
            return self._read_guarded(pairs, split=False)
        except LeakError:
            pass  # a token that is a word of the vocabulary, too
        try:
            return self._read_guarded(pairs, split=True)
        except LeakError as error:
            token = self._tokenizer.convert_ids_to_tokens(error.token)
            found = f"its text becomes the special token {token!r} however it is split"
            advice = "Rephrase that passage or remove the record"
            raise RecordError(place, "text", found, advice, "token-reserved") from error

    def _read_guarded(self, pairs: Sequence[Pair], split: bool) -> list[PairIds]:
        guard = self._guard
        reader = SplitReader(guard.backend, guard.split_mark) if split else Reader(guard.backend)
        texts = [(guard.text(prompt, split), guard.text(after, split)) for prompt, after in pairs]
        found = _read(reader, texts, guard.text(RenderedText(self._bos), split))
        return [(guard.original(ids), guard.original(after)) for ids, after in found]

    @cached_property
    def _guard(self) -> Guard:
        return Guard(self.json, self._control, self._ids, self._spellings, self._reserved.values())

    def _unknown_ids(self, model: dict[str, Any]) -> set[int]:
        """The id of unknown characters, which typed text may contain, unless it is the BOS or EOS token as well."""
        name = model.get("unk_token")
        if name is None and model.get("unk_id") is not None:
            name = model["vocab"][model["unk_id"]][0]
        if name in (None, self._tokenizer.bos_token, self._tokenizer.eos_token):
            return set()
        return {number for number, token in self._control.items() if token.content == name}


def _read(reader: Reader | SplitReader, texts: Sequence[tuple[str, str]], bos: str) -> list[PairIds]:
    """Ids of each prompt and of what follows it."""
    if texts and texts[-1][0] not in ("", bos):
        reader.ids("".join(texts[-1]))  # the longest text, of which the others are prefixes as a rule
    return [_pair(reader, prompt, after, bos) for prompt, after in texts]


def _pair(reader: Reader | SplitReader, prompt: str, after: str, bos: str) -> PairIds:
    ids = reader.ids(prompt)
    if not after:
        return ids, []
    if prompt in ("", bos):  # plain text, which is tokenised as such after the begin token
        return ids, reader.ids(after)
    complete = reader.ids(prompt + after)
    if complete[: len(ids)] == ids:
        return ids, complete[len(ids) :]
    return ids, reader.continuation(after)
