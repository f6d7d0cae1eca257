"""What the model reads, what it learns and where images stand, against samples written by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llm.encoding.chat_template import load_template
from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.encoding.token_view import TokenRun, sample_blocks, supervised_mask, token_texts
from llm.formats.conversation import ImageRef, ImageShape
from llm.model.pretrained import load_tokenizer


@pytest.fixture(scope="module")
def encoder(tiny_llama: Path) -> Encoder:
    tokenizer = load_tokenizer(str(tiny_llama))
    return Encoder(tokenizer, load_template("chatml", tokenizer), tokenizer.convert_tokens_to_ids("<image>"), 2)


def spelt(encoder: Encoder, text: str) -> list[int]:
    return [int(number) for number in encoder.tokenizer(text, add_special_tokens=False).input_ids]


def sample(ids: list[int], targets: set[int], branches: tuple[int, ...] = ()) -> Sample:
    """The tokens at `targets` are supervised: each is the label of the position before it."""
    labels = [ids[place + 1] if place + 1 in targets else IGNORED for place in range(len(ids))]
    return Sample(np.array(ids, np.int32), np.array(labels, np.int32), (), branches)


def test_a_label_supervises_the_next_token(encoder: Encoder) -> None:
    ids = spelt(encoder, "a b c d")
    marked = sample(ids, {2, 3})
    assert supervised_mask(marked) == [False, False, True, True, *[False] * (len(ids) - 4)]
    (block,) = sample_blocks(marked, encoder)
    assert [(run.kind, run.text) for run in block.runs[:2]] == [
        ("context", encoder.tokenizer.decode(ids[:2])),
        ("supervised", encoder.tokenizer.decode(ids[2:4])),
    ]
    assert block.count("supervised") == 2 and block.tokens == len(ids) and not block.branch


def test_two_images_in_a_row_are_two(encoder: Encoder) -> None:
    assert encoder.image_id is not None
    rows = [encoder.image_id] * 4
    made = sample([*spelt(encoder, "x"), *rows, *spelt(encoder, "y")], {5})
    shown = replace(made, images=(ImageRef("a.png"), ImageRef("b.png")))
    (block,) = sample_blocks(shown, encoder)
    assert block.runs == (
        TokenRun("context", 1, ("x",)),
        TokenRun("image", 2),
        TokenRun("image", 2),
        TokenRun("supervised", 1, ("y",)),
    )
    assert block.runs[1].text == "2 tokens"
    shapes = (ImageShape(1, 2, 8, 8), ImageShape(3, 5, 90, 40))
    tiled = replace(made, images=tuple(ImageRef("a.png", shape=shape) for shape in shapes))
    (block,) = sample_blocks(tiled, encoder)
    assert [run.tokens for run in block.runs if run.kind == "image"] == [1, 3]


def test_a_prefix_and_its_branches(encoder: Encoder) -> None:
    prefix, one, two = (spelt(encoder, text) for text in ("x", "yy", "zzz"))
    at = len(prefix)
    whole = sample([*prefix, *one, *two], {at + len(one) - 1}, (at, at + len(one)))
    found = sample_blocks(whole, encoder)
    assert [(block.is_prefix, block.branch, block.tokens) for block in found] == [
        (True, 0, len(prefix)),
        (False, 1, len(one)),
        (False, 2, len(two)),
    ]
    assert ["".join(run.text for run in block.runs) for block in found] == ["x", "yy", "zzz"]
    assert [block.count("supervised") for block in found] == [0, 1, 0]
    without = sample_blocks(sample([*one, *two], {1}, (0, len(one))), encoder)
    assert [block.branch for block in without] == [1, 2] and not any(block.is_prefix for block in without)


@pytest.mark.parametrize("text", ["the 你好 dog", "🦊 é", "a  b", ""])
def test_pieces_are_the_text(encoder: Encoder, text: str) -> None:
    ids = spelt(encoder, text)
    found = token_texts(ids, encoder)
    assert "".join(found) == text
    assert all("\ufffd" not in piece for piece in found)


def test_tokens_of_one_character_share_a_piece(encoder: Encoder) -> None:
    ids = spelt(encoder, "🦊a")
    assert len(ids) > 2, "the fox takes several tokens"
    assert token_texts(ids, encoder) == ("🦊", "a")
