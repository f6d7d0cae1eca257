"""A model's own processor: what it writes into a text for an image, and the tensors that it makes of images."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.processing_utils import MultiModalData

from llm.errors import ModelError
from llm.library_errors import as_model_error
from vlm.ready.prefix_template import ANSWER, PROMPT, prefix_template

Size = tuple[int, int]  # width, height
TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")
"""The names under which classes take which tokens are of images."""

TEXT_INPUTS = ("input_ids", "attention_mask", "labels", *TOKEN_TYPES)

# Sizes on which the processor's own count of image tokens is compared with what it writes.
_SIZES: tuple[Size, ...] = ((64, 64), (97, 61), (48, 120), (300, 200), (640, 480), (500, 1500))
_BLANK = Image.new("RGB", (64, 64))
_REMEMBERED = 4096  # sizes of images


class HfProcessor(Protocol):
    """What is asked of a processor of transformers; which of it there is, a processor says itself."""

    tokenizer: PreTrainedTokenizerFast
    image_token: str
    chat_template: str | dict[str, str] | None

    def __call__(self, **inputs: object) -> Mapping[str, Any]: ...

    def apply_chat_template(self, messages: Sequence[Mapping[str, object]], **options: object) -> Mapping[str, Any]: ...

    def create_mm_token_type_ids(self, input_ids: list[list[int]]) -> list[list[int]]: ...

    def to_json_string(self) -> str: ...

    def save_pretrained(self, folder: Path) -> object: ...

    def _get_num_multimodal_tokens(self, image_sizes: list[Size]) -> MultiModalData: ...


class ReadyProcessor:
    """The processor `hf` of a model whose image features take the places of the token `row_id`."""

    def __init__(self, hf: HfProcessor, row_id: int, name: str) -> None:
        """Raises ModelError for a processor without an image token, or with a tokenizer of another library."""
        self.hf, self.row_id, self.name = hf, row_id, name
        if "image_token" not in dir(hf) or "tokenizer" not in dir(hf):
            raise ModelError(f"{name}: its {type(hf).__name__} names no image token, so images have no place in a text")
        if not isinstance(hf.tokenizer, PreTrainedTokenizerFast):
            raise ModelError(f"{name}: its tokenizer has no tokenizer.json. Convert it first")
        self.image_token = str(hf.image_token)
        self._write = lru_cache(_REMEMBERED)(self._written_for)

    def with_processor(self, hf: HfProcessor) -> "ReadyProcessor":
        """The same with another processor of the model, such as one that was saved and loaded again."""
        return ReadyProcessor(hf, self.row_id, self.name)

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The processor's tokenizer."""
        return self.hf.tokenizer

    @property
    def jinja(self) -> str:
        """The chat template. Raises ModelError where there is none."""
        jinja = self._own_template
        if not jinja and self.takes_suffix:
            written = self.tokenizer.decode(self.answered(self.image_token + PROMPT, [_BLANK], ANSWER)["input_ids"][0])
            return prefix_template(str(written), self.image_token, self.row_token, self.name)
        if not jinja:
            raise ModelError(f"{self.name}: its processor has no chat template. Give the folder a chat_template.jinja")
        return str(jinja)

    @property
    def _own_template(self) -> str | None:
        own = self.hf.chat_template or self.tokenizer.chat_template
        return own.get("default") if isinstance(own, dict) else own

    @cached_property
    def takes_suffix(self) -> bool:
        """Whether it is that of a prefix language model: it has no chat template and takes an answer as `suffix`."""
        return not self._own_template and "suffix" in inspect.signature(type(self.hf).__call__).parameters

    def answered(self, prompt: str, images: Sequence[Image.Image], answer: str) -> dict[str, Any]:
        """What the processor of a prefix language model makes of a prompt, with its image tokens, and an answer."""
        with as_model_error(f"{self.name}: its processor refuses {len(images)} images"):
            made = self.hf(text=[prompt], images=[list(images)], suffix=[answer], return_tensors="pt")
        return {name: value for name, value in made.items() if name != "labels"}

    def inputs(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """The tensors that the processor makes of the images of one record."""
        of_text = {*TEXT_INPUTS, *self.tokenizer.model_input_names}
        made = self._process(images)
        return {name: value for name, value in made.items() if isinstance(value, Tensor) and name not in of_text}

    def written(self, sizes: Sequence[Size]) -> tuple[str, ...]:
        """What the processor writes for each image of a record, from the sizes alone; no pixel is decoded."""
        return self._write(tuple(sizes)) if sizes else ()

    def token_types(self, ids: Sequence[int]) -> list[int]:
        """1 for each token of an image, 0 for text."""
        return self.hf.create_mm_token_type_ids([list(ids)])[0]

    @cached_property
    def counts(self) -> tuple[bool, bool]:
        """Whether the processor's own count is that of what it writes, for one image and for several in a record."""
        pairs = tuple(zip(_SIZES, reversed(_SIZES), strict=True))
        return self._is_counted([(size,) for size in _SIZES]), self._is_counted(pairs)

    def fingerprint(self) -> str:
        """All that the processor does with images depends on, as text."""
        return self.hf.to_json_string()

    def _written_for(self, sizes: tuple[Size, ...]) -> tuple[str, ...]:
        if self._frame is not None and self.counts[len(sizes) > 1]:
            return self._by_count(sizes)
        return self._by_blanks(sizes)

    def _is_counted(self, groups: Iterable[tuple[Size, ...]]) -> bool:
        return self._frame is not None and all(self._by_count(sizes) == self._by_blanks(sizes) for sizes in groups)

    @cached_property
    def _frame(self) -> tuple[str, str, int] | None:
        """What surrounds the image tokens of an image, and how many fewer they are than the count; None without one."""
        if "_get_num_multimodal_tokens" not in dir(self.hf):
            return None
        row = self.row_token
        [text] = self._by_blanks(_SIZES[:1])
        before, _, rest = text.partition(row)
        after = rest.replace(row, "")
        return before, after, self._count(_SIZES[:1])[0] - text.count(row)

    def _by_count(self, sizes: tuple[Size, ...]) -> tuple[str, ...]:
        assert self._frame is not None
        before, after, more = self._frame
        return tuple(before + self.row_token * (count - more) + after for count in self._count(sizes))

    def _count(self, sizes: tuple[Size, ...]) -> list[int]:
        counts = self.hf._get_num_multimodal_tokens(image_sizes=[(height, width) for width, height in sizes])
        return [int(count) for count in counts.num_image_tokens or ()]

    def _by_blanks(self, sizes: tuple[Size, ...]) -> tuple[str, ...]:
        """As the processor writes it for black images of these sizes."""
        blanks = [Image.fromarray(np.zeros((height, width, 3), np.uint8)) for width, height in sizes]
        [offsets] = self._process(blanks)["text_replacement_offsets"]
        return tuple(str(found["replacement"]) for found in offsets)

    @property
    def row_token(self) -> str:
        """The token whose places image features take."""
        return str(self.tokenizer.convert_ids_to_tokens(self.row_id))

    def _process(self, images: Sequence[Image.Image]) -> dict[str, Any]:
        text = self.image_token * len(images)
        with as_model_error(f"{self.name}: its processor refuses {len(images)} images"):
            made = self.hf(
                text=[text], images=[list(images)], return_tensors="pt", return_text_replacement_offsets=True
            )
        return dict(made)


def floats_as(inputs: dict[str, Tensor], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """The tensors on a device, those of floating-point numbers in `dtype`."""
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in inputs.items()
    }
