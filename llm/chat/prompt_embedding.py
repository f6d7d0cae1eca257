"""Token embeddings with image embeddings at the positions of the image token: for training, chat and export alike."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from llm.chat.answer_row import Embed
from llm.formats.conversation import ImageRef

EmbedImages = Callable[[tuple[ImageRef, ...]], Tensor]  # I images -> [I * P, hidden]


def insert_images(tokens: Tensor, positions: Tensor, images: Tensor) -> Tensor:
    """[T, hidden] tokens with [N, hidden] image embeddings at `positions` [N], in the tokens' dtype."""
    return tokens.index_copy(0, positions, images.to(tokens.dtype))


def insert_images_at(tokens: Tensor, ids: Tensor, image_id: int, images: Tensor) -> Tensor:
    """The same at every position of `ids` [T] that holds the image token."""
    return insert_images(tokens, torch.nonzero(ids == image_id)[:, 0], images)


def text_embedder(embeddings: nn.Module) -> Embed:
    """Embeds prompts of a text model, on the device of its embeddings."""

    def embed(ids: list[int], images: tuple[ImageRef, ...]) -> Tensor:
        assert not images, "the encoder of a text model refuses images"
        return embed_ids(embeddings, ids)[1]

    return embed


def image_embedder(embeddings: nn.Module, image_id: int, embed_images: EmbedImages) -> Embed:
    """Embeds prompts of a vision model; `embed_images` embeds the images of a prompt in order."""

    def embed(ids: list[int], images: tuple[ImageRef, ...]) -> Tensor:
        placed, tokens = embed_ids(embeddings, ids)
        return insert_images_at(tokens, placed, image_id, embed_images(images)) if images else tokens

    return embed


def embed_ids(embeddings: nn.Module, ids: list[int]) -> tuple[Tensor, Tensor]:
    """Ids [T] on the embeddings' device, and their embeddings [T, hidden]."""
    placed = torch.tensor(ids, device=next(embeddings.parameters()).device)
    return placed, embeddings(placed)
