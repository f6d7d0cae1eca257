"""The encoder of a vision model: images of one number of tokens, or of as many as their sizes give them."""

import hashlib
import os
from dataclasses import replace
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from llm.encoding.chat_template import ChatTemplate
from llm.encoding.encoder import Encoder
from llm.encoding.video_frames import ChooseFrames
from llm.formats.conversation import ImageRef, ImageShape
from vlm.vision.images import upright_size
from vlm.vision.towers import Tower

_REMEMBERED = 4096  # sizes of image files


class TiledEncoder(Encoder):
    """An image has the tokens that the tower's tiles give it by its size; no pixel is decoded for that, except PNGs'.

    `encode` and `prompt` raise ImageError for an image whose size cannot be read.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: ChatTemplate,
        image_id: int,
        tower: Tower,
        choose_frames: ChooseFrames | None = None,
    ) -> None:
        super().__init__(tokenizer, template, image_id, tower.image_tokens, choose_frames)
        self._tower = tower
        self._size_of_file = lru_cache(_REMEMBERED)(_size_of_file)

    def shaped(self, images: tuple[ImageRef, ...]) -> tuple[ImageRef, ...]:
        """The images with the shapes that their sizes give them."""
        return tuple(replace(image, shape=self._shape(image)) for image in images)

    def fingerprint(self) -> str:
        """As `Encoder.fingerprint`, with the tiles."""
        text = f"{super().fingerprint()} {self._tower.tiling} {self._tower.grid}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _shape(self, image: ImageRef) -> ImageShape:
        if image.data:
            return self._tower.shape(upright_size(image))
        try:
            changed = os.stat(image.file).st_mtime_ns
        except OSError:
            changed = 0  # reading it says what is wrong
        return self._tower.shape(self._size_of_file(image.path, changed))


def _size_of_file(path: str, _: int) -> tuple[int, int]:
    return upright_size(ImageRef(path))


def vision_encoder(
    tokenizer: PreTrainedTokenizerBase,
    template: ChatTemplate,
    image_id: int,
    tower: Tower,
    choose_frames: ChooseFrames | None = None,
) -> Encoder:
    """The encoder that a model with this tower is trained and asked with; `choose_frames` as for `Encoder`."""
    if tower.tiling is None:
        return Encoder(tokenizer, template, image_id, tower.image_tokens, choose_frames)
    return TiledEncoder(tokenizer, template, image_id, tower, choose_frames)
