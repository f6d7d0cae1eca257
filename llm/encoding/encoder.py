"""Segments become token ids and labels; no other module makes labels."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llm.encoding.chat_template import ChatTemplate, render_verified
from llm.encoding.segments import Segment
from llm.encoding.tokenization import PieceTokenizer
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
VERSION = 1
"""To be raised when the ids of a record change although nothing in `Encoder.fingerprint` does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded record of n tokens.

    Attributes:
        ids: Token ids [n]. An image is P times `image_id`, in the order of `images`. Tokens after the last target are
            left out, since no loss depends on them.
        labels: Targets [n], already shifted: `labels[i]` is the token at i + 1 if that is supervised, else `IGNORED`.
        images: The images of the record in reading order.
        branches: Start indices of branches that share the tokens before the first of them as a prefix (system prompt,
            images). A branch attends to the prefix and to itself, and its position ids continue those of the prefix.
            Empty: one plain sequence.
        parents: What each branch continues: 0 the prefix, i the i-th branch, whose own prefixes it then shares too.
            Empty: all continue the prefix.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    images: tuple[ImageRef, ...] = ()
    branches: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()


class Encoder:
    """Encodes conversations as samples and chats as prompts, with one tokenizer, template and image size."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        template: ChatTemplate,
        image_id: int | None = None,
        image_tokens: int = 0,
    ) -> None:
        """An image becomes `image_tokens` times `image_id`; None for a text run, which accepts no images."""
        assert image_id is None or image_tokens > 0, "an image has at least one token"
        self.tokenizer = tokenizer
        self.template = template
        self.image_id = image_id
        self.image_tokens = image_tokens
        self._pieces = PieceTokenizer(tokenizer, image_id)

    def encode(self, conversation: Conversation, proof: bool = False) -> Sample:
        """Ids and labels of a record; with `proof` its text is compared with the template's own rendering.

        Raises RecordError when no token is supervised, when a text run gets an image, or when a text cannot be encoded
        without a special token; TemplateError when the template cannot render it, or with `proof` changes its text.
        """
        segments = render_verified(self.template, conversation) if proof else self.template.render(conversation)
        end = max((number for number, segment in enumerate(segments, 1) if segment.supervised), default=0)
        ids, supervised, images = self._ids(segments[:end], conversation.place)
        labels = np.full(len(ids), IGNORED, np.int32)
        labels[:-1][supervised[1:]] = ids[1:][supervised[1:]]
        if not supervised[1:].any():
            advice = "Give one answer loss, or remove the record"
            raise RecordError(conversation.place, "answers", "no token is supervised", advice, "no-target")
        return Sample(ids, labels, images)

    def prompt(self, messages: tuple[Message, ...]) -> tuple[list[int], tuple[ImageRef, ...]]:
        """Ids and images up to the next answer: a prefix of what `encode` gives for the answered conversation."""
        ids, _, images = self._ids(self.template.prompt(messages), Place("prompt"))
        return ids.tolist(), images

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer: the template's end mark and the tokenizer's EOS token."""
        ends = [self._pieces.template(self.template.stop, None)[-1], self.tokenizer.eos_token_id]
        return tuple(dict.fromkeys(int(end) for end in ends if end is not None))

    def fingerprint(self) -> str:
        """Hash of all that the ids depend on except the record; part of the cache key of encoded corpora."""
        tokens = [self.tokenizer.bos_token, self.tokenizer.eos_token]
        parts = [VERSION, self._pieces.json, tokens, self.template.jinja, self.image_id, self.image_tokens]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def hashes(self) -> dict[str, str]:
        """Hashes of the tokenizer and of the chat template by name, to report which of them changed."""
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
                ids += self._image_ids(place)
                images.append(segment.image)
            elif segment.typed:
                # Plain text starts after BOS, as in tokenizer(text).
                plain = segment.supervised and len(ids) <= 1 and not images
                ids += self._pieces.typed(segment.text, None if plain else last, place)
            else:
                ids += self._pieces.template(segment.text, last)
            supervised += [segment.supervised] * (len(ids) - len(supervised))
        return np.array(ids, np.int32), np.array(supervised, np.bool_), tuple(images)

    def _image_ids(self, place: Place) -> list[int]:
        if self.image_id is None:
            advice = "Train with a vision recipe (model.tower), or remove the image"
            raise RecordError(place, "image", "text runs accept no images", advice, "image-in-text-run")
        return [self.image_id] * self.image_tokens
