"""Segments become token ids and labels. This is the only place where a label is made."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llm.encoding.chat_template import ChatTemplate, Segment, render_verified
from llm.encoding.tokenization import PieceTokenizer
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
VERSION = 1
"""Raised when the ids of a record change although nothing in `Encoder.fingerprint` does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded record of n tokens.

    `labels[i]` is the target of position i, that is the supervised token at i + 1, or `IGNORED`: the shift happens
    here, once. Image rows are `image_id` in `ids`, P consecutive ids an image, in the order of `images`.
    Tokens behind the last target are cut: no loss reads them.

    `branches` holds the starts of branches that share the tokens before the first of them (system prompt, images):
    each branch sees that prefix and itself, and its positions continue from the prefix. Empty: one plain sequence.
    `parents` says for each branch what it continues: 0 the prefix, i the i-th branch, whose beginnings it then shares
    as well. Empty: all continue the prefix.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    images: tuple[ImageRef, ...] = ()
    branches: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()


class Encoder:
    """One tokenizer, one template and the size of an image: conversations become samples, chats become prompts."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        template: ChatTemplate,
        image_id: int | None = None,
        image_rows: int = 0,
    ) -> None:
        """`image_id` is repeated `image_rows` times where an image stands; None: a text run, which knows no image."""
        assert image_id is None or image_rows > 0, "an image has at least one row"
        self.tokenizer = tokenizer
        self.template = template
        self.image_id = image_id
        self.image_rows = image_rows
        self._pieces = PieceTokenizer(tokenizer, image_id)

    def encode(self, conversation: Conversation, proof: bool = False) -> Sample:
        """Ids and labels of a record; with `proof` its text is held against the tokenizer's own rendering.

        Raises RecordError when nothing in it is trained on, when a text run meets an image, or when a text cannot be
        written without a special token; TemplateError when the template cannot render it, or with `proof` changes it.
        """
        segments = render_verified(self.template, conversation) if proof else self.template.render(conversation)
        end = max((number for number, segment in enumerate(segments, 1) if segment.supervised), default=0)
        ids, supervised, images = self._ids(segments[:end], conversation.place)
        labels = np.full(len(ids), IGNORED, np.int32)
        labels[:-1][supervised[1:]] = ids[1:][supervised[1:]]
        if not supervised[1:].any():
            advice = "Let an answer carry loss"
            raise RecordError(conversation.place, "answers", "no token is trained on", advice, "no-target")
        return Sample(ids, labels, images)

    def prompt(self, messages: tuple[Message, ...]) -> tuple[list[int], tuple[ImageRef, ...]]:
        """The ids and images up to where the next answer begins: the beginning of what training sees."""
        ids, _, images = self._ids(self.template.prompt(messages), Place("prompt"))
        return ids.tolist(), images

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer: the template's end mark and the tokenizer's end token."""
        ends = [self._pieces.template(self.template.stop, None)[-1], self.tokenizer.eos_token_id]
        return tuple(dict.fromkeys(int(end) for end in ends if end is not None))

    def fingerprint(self) -> str:
        """A hash of everything an id depends on besides the record: the key of encoded corpora."""
        tokens = [self.tokenizer.bos_token, self.tokenizer.eos_token]
        parts = [VERSION, self._pieces.json, tokens, self.template.jinja, self.image_id, self.image_rows]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def hashes(self) -> dict[str, str]:
        """Hashes of the tokenizer and of the chat template, to tell which of them changed."""
        tokenizer = json.dumps([self._pieces.json, self.tokenizer.bos_token, self.tokenizer.eos_token])
        texts = {"tokenizer": tokenizer, "template": self.template.jinja}
        return {name: hashlib.sha256(text.encode()).hexdigest()[:24] for name, text in texts.items()}

    def _ids(
        self, segments: list[Segment], place: Place
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_], tuple[ImageRef, ...]]:
        ids: list[int] = []
        supervised: list[bool] = []
        images: list[ImageRef] = []
        for segment in segments:
            last = ids[-1] if ids else None
            if segment.image is not None:
                ids += self._rows(place)
                images.append(segment.image)
            elif segment.typed:
                # An answer without a question is plain text: it begins behind the begin token, as in tokenizer(text).
                plain = segment.supervised and len(ids) <= 1 and not images
                ids += self._pieces.typed(segment.text, None if plain else last, place)
            else:
                ids += self._pieces.template(segment.text, last)
            supervised += [segment.supervised] * (len(ids) - len(supervised))
        return np.array(ids, np.int32), np.array(supervised, np.bool_), tuple(images)

    def _rows(self, place: Place) -> list[int]:
        if self.image_id is None:
            advice = "Train with a vision recipe (model.tower), or remove the image"
            raise RecordError(place, "image", "this is a text run, which sees no images", advice, "image-in-text-run")
        return [self.image_id] * self.image_rows
