"""Image embeddings at the positions of the image token, by hand."""

import torch
from torch import Tensor, nn

from llm.chat.prompt_embedding import image_embedder, insert_images, text_embedder
from llm.formats.conversation import ImageRef

IMAGE = 3
TABLE = torch.tensor([[0.0, 0.0], [1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])


def table() -> nn.Embedding:
    return nn.Embedding.from_pretrained(TABLE)


def test_images_take_their_positions_in_the_tokens_dtype() -> None:
    tokens = torch.zeros(4, 2, dtype=torch.bfloat16)
    placed = insert_images(tokens, torch.tensor([1, 3]), torch.tensor([[5.0, 6.0], [7.0, 8.0]]))
    assert placed.dtype == torch.bfloat16
    assert placed.tolist() == [[0, 0], [5, 6], [0, 0], [7, 8]]
    assert not tokens.any(), "the tokens themselves stay as they are"


def test_a_prompt_s_images_are_embedded_in_order() -> None:
    asked: list[tuple[ImageRef, ...]] = []

    def embed_images(images: tuple[ImageRef, ...]) -> Tensor:
        asked.append(images)
        return torch.tensor([[5.0, 6.0], [7.0, 8.0]])

    embed = image_embedder(table(), IMAGE, embed_images)
    images = (ImageRef("a.png"), ImageRef("b.png"))
    assert embed([1, IMAGE, 2, IMAGE], images).tolist() == [[1, 10], [5, 6], [2, 20], [7, 8]]
    assert asked == [images]
    assert embed([2, 1], ()).tolist() == [[2, 20], [1, 10]]
    assert asked == [images], "a prompt without images calls no tower"


def test_a_text_prompt_is_its_token_embeddings() -> None:
    assert text_embedder(table())([2, 0], ()).tolist() == [[2, 20], [0, 0]]
