"""Conversations become token ids and labels; no other module makes labels."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llm.encoding.chat_template import ChatTemplate
from llm.encoding.rendered_text import RenderedText
from llm.encoding.tokenization import TextTokenizer
from llm.encoding.video_frames import ChooseFrames, show_frames
from llm.errors import Place, RecordError, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message, tokens_of_images

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
VERSION = 2
"""To be raised when the ids of a record change although nothing in `Encoder.fingerprint` does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded record of n tokens.

    Attributes:
        ids: Token ids [n]. An image is `image_id` as often as it has tokens, in the order of `images`. Tokens after
            the last target are left out, since no loss depends on them.
        labels: Targets [n], already shifted: `labels[i]` is the token at i + 1 if that is supervised, else `IGNORED`.
        images: The images in the order of their tokens.
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

    def nodes(self) -> Iterator[tuple[int, int, int]]:
        """Start, end and parent of each node: the prefix, which has no parent (0 is given), and each branch."""
        starts = (0, *self.branches)
        parents = self.parents or (0,) * len(self.branches)
        yield from zip(starts, (*starts[1:], len(self.ids)), (0, *parents), strict=True)

    def paths(self) -> Iterator[tuple[int, ...]]:
        """The nodes of each sequence in the sample, from the prefix to its end."""
        parents = [parent for _, _, parent in self.nodes()]
        for node in range(len(parents)):
            if node not in parents[1:]:
                path = [node]
                while path[0]:
                    path.insert(0, parents[path[0]])
                yield tuple(path)


class Encoder:
    """Encodes conversations as samples and chats as prompts, with one tokenizer, template and image size."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        template: ChatTemplate,
        image_id: int | None = None,
        image_tokens: int = 0,
        choose_frames: ChooseFrames | None = None,
    ) -> None:
        """An image becomes `image_tokens` times `image_id`; None for a text run, which accepts no images.

        A video becomes the images that `choose_frames` names; without it, videos are refused.
        """
        assert image_id is None or image_tokens > 0, "an image has at least one token"
        self.tokenizer = tokenizer
        self.template = template
        self.image_id = image_id
        self.image_tokens = image_tokens
        self.choose_frames = choose_frames
        self._texts = TextTokenizer(tokenizer, image_id)

    def encode(self, conversation: Conversation) -> list[Sample]:
        """The sequences of a record, each with ids and labels; usually one.

        The ids before an answer are those of its prompt at inference: of the template's rendering of the turns before
        it with the generation prompt, as `apply_chat_template(..., add_generation_prompt=True)` encodes it. An answer
        whose prompt does not begin with the sequence so far begins another one: templates that remove thoughts from
        earlier answers write other ids there than the model was trained to write.

        Raises RecordError when no token is supervised, when a text run gets an image, for a video that cannot be read,
        or when a text cannot be encoded without a special token; TemplateError when the template cannot render the
        record, or changes its text.
        """
        conversation = show_frames(conversation, self.choose_frames)
        self._refuse_images(conversation.images, conversation.place)
        answers = self.template.answers(conversation)
        pairs = [(self._written(answer.prompt, answer.images), answer.answer) for answer in answers]
        ids = self._texts.continued(pairs, conversation.place)
        sequences: list[_Sequence] = []
        for answer, (prompt, after) in zip(answers, ids, strict=True):
            earlier = next((one for one in reversed(sequences) if prompt[: len(one.ids)] == one.ids), None)
            if earlier is None:
                sequences.append(earlier := _Sequence([], [], ()))
            earlier.grow(prompt, after, answer.images)
        samples = [self._sample(sequence, conversation.place) for sequence in sequences]
        if not any((sample.labels != IGNORED).any() for sample in samples):
            advice = "Give one answer loss, or remove the record"
            raise RecordError(conversation.place, "answers", "no token is supervised", advice, "no-target")
        return samples

    def prompt(self, messages: tuple[Message, ...]) -> tuple[list[int], tuple[ImageRef, ...]]:
        """Ids and images up to the next answer: those before this answer in what `encode` gives for the record."""
        place = Place("prompt")
        shown = show_frames(Conversation(messages, place), self.choose_frames)
        messages, images = shown.messages, shown.images
        self._refuse_images(images, place)
        ids = np.array(self._texts.ids(self._written(self.template.prompt(messages), images), place), np.int32)
        shaped = self.shaped(images)
        return np.repeat(ids, self._repeats(ids, shaped)).tolist(), shaped

    def shaped(self, images: tuple[ImageRef, ...]) -> tuple[ImageRef, ...]:
        """The images with their shapes, where these differ in their numbers of tokens. Here they do not."""
        return images

    def with_images(self, sample: Sample, images: tuple[ImageRef, ...]) -> Sample:
        """The sample with other images in place of its own. Without branches."""
        assert not sample.branches and len(images) == len(sample.images), "an image in place of each"
        at = np.flatnonzero(sample.ids == self.image_id)
        last = np.cumsum(tokens_of_images(sample.images, len(at))) - 1
        once = np.delete(np.arange(len(sample.ids)), np.delete(at, last))  # of each image the last token
        ids, shaped = sample.ids[once], self.shaped(images)
        return self._spread(ids, sample.labels[once], shaped)

    @cached_property
    def opening(self) -> str:
        """The text with which an answer of the model opens because the template does; it is not part of the answer."""
        ids = self._texts.ids(RenderedText(self.template.opening), Place("template"))
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    @cached_property
    def byte_ids(self) -> frozenset[int]:
        """The ids of SentencePiece's byte tokens; empty for a tokenizer that has none."""
        vocabulary, names = self.tokenizer.get_vocab(), [f"<0x{number:02X}>" for number in range(256)]
        return frozenset(vocabulary[name] for name in names if name in vocabulary)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer: the template's end mark and the tokenizer's EOS token."""
        ends = [self._texts.ids(RenderedText(self.template.stop), Place("template"))[-1], self.tokenizer.eos_token_id]
        return tuple(dict.fromkeys(int(end) for end in ends if end is not None))

    def fingerprint(self) -> str:
        """Hash of all that the ids depend on except the record; part of the cache key of encoded corpora."""
        tokens = [self.tokenizer.bos_token, self.tokenizer.eos_token]
        parts = [VERSION, self._texts.json, tokens, self.template.jinja, self.image_id, self.image_tokens]
        if self.choose_frames is not None and self.choose_frames.fingerprint():
            parts.append(self.choose_frames.fingerprint())
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def hashes(self) -> dict[str, str]:
        """Hashes of the tokenizer and of the chat template by name, to report which of them changed."""
        tokenizer = json.dumps([self._texts.json, self.tokenizer.bos_token, self.tokenizer.eos_token])
        texts = {"tokenizer": tokenizer, "template": self.template.jinja}
        return {name: hashlib.sha256(text.encode()).hexdigest()[:24] for name, text in texts.items()}

    def may_share(self, sample: Sample) -> bool:
        """Whether the sample may be planned to share its prefix with others."""
        return True

    def image_spans(self, sample: Sample) -> Iterator[tuple[int, int]]:
        """Start and end of each image's tokens, in their order."""
        rows = np.flatnonzero(sample.ids == (-1 if self.image_id is None else self.image_id)).tolist()
        ends = [0, *accumulate(tokens_of_images(sample.images, len(rows)))] if rows else []
        yield from ((rows[first], rows[end - 1] + 1) for first, end in pairwise(ends))

    def _written(self, prompt: RenderedText, images: tuple[ImageRef, ...]) -> RenderedText:
        """The prompt as it is tokenised."""
        return prompt

    def _sample(self, sequence: "_Sequence", place: Place) -> Sample:
        ids, supervised = np.array(sequence.ids, np.int32), np.array(sequence.supervised, np.bool_)
        labels = np.full(len(ids), IGNORED, np.int32)
        labels[:-1][supervised[1:]] = ids[1:][supervised[1:]]
        if self.image_id is None:
            return Sample(ids, labels)
        return self._spread(ids, labels, self.shaped(sequence.images))

    def _spread(self, ids: NDArray[np.int32], labels: NDArray[np.int32], images: tuple[ImageRef, ...]) -> Sample:
        """Of ids in which an image is one, with their labels."""
        repeats = self._repeats(ids, images)
        # The last token of an image has its label: nothing before it is an answer.
        spread = np.full(int(repeats.sum()), IGNORED, np.int32)
        spread[np.cumsum(repeats) - 1] = labels
        return Sample(np.repeat(ids, repeats), spread, images)

    def _repeats(self, ids: NDArray[np.int32], images: tuple[ImageRef, ...]) -> NDArray[np.int64]:
        """How often each id is written: an image's as often as it has tokens."""
        repeats = np.ones(len(ids), np.int64)
        if self.image_id is None:
            return repeats
        at = np.flatnonzero(ids == self.image_id)
        if len(at) != len(images):
            raise TemplateError(
                f"the chat template writes {len(at)} of {len(images)} images. Set data.template to another template"
            )
        if len(at):
            repeats[at] = tokens_of_images(images, self.image_tokens * len(images))
        return repeats

    def _refuse_images(self, images: tuple[ImageRef, ...], place: Place) -> None:
        if images and self.image_id is None:
            advice = "Train with a vision recipe (model.tower), or remove the image"
            raise RecordError(place, "image", "text runs accept no images", advice, "image-in-text-run")


@dataclass(slots=True)
class _Sequence:
    """A sequence of a record while its answers are added; an image is one id."""

    ids: list[int]
    supervised: list[bool]
    images: tuple[ImageRef, ...]

    def grow(self, prompt: list[int], after: list[int], images: tuple[ImageRef, ...]) -> None:
        """Add a prompt that begins with the ids so far, and what follows it."""
        self.supervised += [False] * (len(prompt) - len(self.ids)) + [True] * len(after)
        self.ids, self.images = prompt + after, images
