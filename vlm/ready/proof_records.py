"""The records on which a ready model is proved, and what plain transformers computes of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from llm.encoding.message_text import text_of
from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart
from llm.library_errors import as_model_error
from vlm.ready.processor import floats_as
from vlm.ready.ready_model import ReadyVlm
from vlm.ready.ways import Way
from vlm.vision.images import read_image

SIZES = ((120, 90), (64, 150))  # width and height of the images


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """A record as plain transformers computes it: by the model's own processor and its own forward pass."""

    inputs: dict[str, Tensor]

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        return [int(number) for number in self.inputs["input_ids"][0]]

    @classmethod
    def of(cls, vlm: ReadyVlm, record: Conversation) -> "PlainRecord":
        """The record as the model's own processor encodes it."""
        if vlm.processor.takes_suffix:
            return cls(floats_as(_answered(vlm, record), vlm.hf.dtype, vlm.hf.device))
        messages = [{"role": turn.role, "content": [_part(part) for part in turn.parts]} for turn in record.messages]
        with as_model_error(f"{vlm.processor.name}: its processor refuses a record of {len(record.images)} images"):
            made = vlm.processor.hf.apply_chat_template(
                messages, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={}
            )
        return cls(dict(floats_as(dict(made), vlm.hf.dtype, vlm.hf.device)))

    def logits(self, vlm: ReadyVlm) -> Tensor:
        """[L, V], by `model(**processor(...))` with transformers' own attention."""
        before = vlm.way
        vlm.attend(Way.ALONE)
        with as_model_error(f"{vlm.processor.name}: its own forward pass fails"):
            logits: Tensor = vlm.hf(**self.inputs, use_cache=False).logits[0]
        vlm.attend(before)
        return logits


def _answered(vlm: ReadyVlm, record: Conversation) -> dict[str, Tensor]:
    """A question and its answer by the processor of a prefix language model."""
    question, answer = record.messages
    token = vlm.processor.image_token
    prompt = "".join(token if isinstance(part, ImageRef) else text_of(part) for part in question.parts)
    images = [read_image(image) for image in record.images]
    return vlm.processor.answered(prompt, images, "".join(map(text_of, answer.parts)))


def _part(part: MessagePart) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    assert isinstance(part, ImageRef), part
    return {"type": "image", "image": read_image(part)}


def proof_records(folder: Path, with_images: bool = False) -> dict[str, Conversation]:
    """A record of each kind; the images are noise, so that every patch of them differs.

    `with_images`: without the record of text, which the processors of prefix language models refuse.
    """
    images = []
    for number, (width, height) in enumerate(SIZES):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append(ImageRef(str(folder / f"{number}.png")))
    records = {
        "text": record_of(("Which colour has snow?",), "White."),
        "one image": record_of((images[0], "What does the image show?"), "It shows noise."),
        "two images": record_of((images[0], images[1], "Are the images alike?"), "No, they differ."),
    }
    return {name: one for name, one in records.items() if one.images or not with_images}


def another_question(record: Conversation) -> Conversation:
    """Another question about the images of a record."""
    return record_of((*record.images, "How large is the image?"), "It is small.")


def record_of(question: tuple[str | ImageRef, ...], answer: str) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", (answer,))), Place("proof"))
