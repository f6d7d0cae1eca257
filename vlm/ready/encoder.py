"""Records of a ready VLM as ids: its own chat template, and for each image the tokens that its processor writes."""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from llm.encoding.encoder import Encoder, Sample
from llm.encoding.parts_template import PartsTemplate, load_parts_template
from llm.encoding.rendered_text import RenderedText
from llm.errors import RecordError
from llm.formats.conversation import Conversation, ImageRef
from vlm.ready.feature_cache import units_of
from vlm.ready.processor import ReadyProcessor
from vlm.vision.images import upright_size


class ReadyEncoder(Encoder):
    """The ids of a record are those that the model's own processor gives it, images included; no pixel is decoded."""

    template: PartsTemplate

    def __init__(self, processor: ReadyProcessor) -> None:
        """Raises TemplateError for a chat template whose answers cannot be found, ModelError without a template."""
        template = load_parts_template(processor.tokenizer, processor.jinja, processor.image_token)
        super().__init__(processor.tokenizer, template, processor.row_id, 1)
        self.processor = processor
        self.shares = True  # whether prefixes of samples may be computed once; a proof finds out

    def encode(self, conversation: Conversation) -> list[Sample]:
        """As `Encoder.encode`. RecordError for a record that a prefix language model does not take."""
        if self.processor.takes_suffix:
            _refuse_dialogue(conversation)
        return super().encode(conversation)

    def may_share(self, sample: Sample) -> bool:
        """Samples of one image: the tokens of several need not be as many for each."""
        return self.shares and len(sample.images) <= 1

    def image_spans(self, sample: Sample) -> Iterator[tuple[int, int]]:
        """From the first to the last token of each image's features, with marks of rows and tiles between them."""
        rows, start = np.flatnonzero(sample.ids == self.image_id), 0
        for unit in units_of(sample.images, bool(sample.branches)):
            for written in self.processor.written([upright_size(image) for image in unit]):
                count = written.count(self.processor.row_token)
                yield int(rows[start]), int(rows[start + count - 1]) + 1
                start += count

    def fingerprint(self) -> str:
        """As `Encoder.fingerprint`, with the processor's settings and whether records become trees."""
        parts = super().fingerprint() + self.processor.fingerprint() + ("" if self.shares else " apart")
        return hashlib.sha256(parts.encode()).hexdigest()

    def _written(self, prompt: RenderedText, images: tuple[ImageRef, ...]) -> RenderedText:
        sizes = [upright_size(image) for image in images]
        return self.template.with_images(prompt, self.processor.written(sizes))

    def _repeats(self, ids: NDArray[np.int32], images: tuple[ImageRef, ...]) -> NDArray[np.int64]:
        return np.ones(len(ids), np.int64)  # `_written` has written all of their tokens


def _refuse_dialogue(conversation: Conversation) -> None:
    """Raise RecordError for other than one question with an image and its answer."""
    roles = [turn.role for turn in conversation.messages]
    if roles == ["user", "assistant"] and conversation.images:
        return
    found = f"{', '.join(roles)} with {len(conversation.images)} images"
    advice = "This model takes one question with an image and its answer: make a record of each"
    raise RecordError(conversation.place, "messages", found, advice, "no-prefix-record")
