"""Each family through our own path and through plain transformers, on records that the proof does not use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from llm.data.prefix_sharing import share_one_prefix
from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef, Message
from tests.vlm.ready.families import FAMILIES
from vlm.ready.batch import collate_ready
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.forward import at_targets
from vlm.ready.proof import prove
from vlm.ready.ready_model import ReadyVlm
from vlm.ready.ways import Way

SIZES = ((70, 40), (33, 90), (128, 128))
RECORDS: tuple[tuple[tuple[int | str, ...], str], ...] = (
    ((0, "Which colour?"), "Red, I think."),
    (("Only words.",), "Yes."),
    ((1, "left of", 2, "or not?"), "Left."),
    ((0, "How many?"), "Two."),
)


@dataclass(frozen=True)
class Facts:
    """What the proof has to find of a family."""

    way: Way = Way.SPANS
    caches: bool = True
    counts: tuple[bool, bool] = (True, True)


EXPECTED = {
    **dict.fromkeys(("llava", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_next", "internvl"), Facts()),
    "llava_onevision": Facts(caches=False, counts=(True, False)),  # tiles only for an image that is alone
    "idefics3": Facts(counts=(False, False)),  # text between the tiles
    "gemma3": Facts(way=Way.RECORDS),  # an image attends to itself both ways
}


def save_images(folder: Path) -> list[Path]:
    """Noise of three sizes."""
    paths = []
    for number, (width, height) in enumerate(SIZES):
        pixels = np.random.default_rng(10 + number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def conversation(question: tuple[int | str, ...], answer: str, images: list[Path]) -> Conversation:
    """The record as our own type."""
    parts = tuple(ImageRef(str(images[part])) if isinstance(part, int) else part for part in question)
    return Conversation((Message("user", parts), Message("assistant", (answer,))), Place("test"))


def plain_inputs(vlm: ReadyVlm, question: tuple[int | str, ...], answer: str, images: list[Path]) -> dict[str, Tensor]:
    """The record as transformers' own processor encodes it."""
    content: list[dict[str, Any]] = [
        {"type": "image", "image": Image.open(images[part])}
        if isinstance(part, int)
        else {"type": "text", "text": part}
        for part in question
    ]
    turns = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    made = vlm.processor.hf.apply_chat_template(turns, tokenize=True, return_dict=True, return_tensors="pt")
    return dict(made)


def plain_logits(vlm: ReadyVlm, answer: str, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """[K, V] before each token of the answer and its end mark, and [K] these tokens, found by their number of bytes."""
    vlm.text.set_attn_implementation("sdpa")
    logits = vlm.hf(**inputs, use_cache=False).logits[0]
    ids = inputs["input_ids"][0]
    last = int((ids == 257).nonzero()[-1])  # <|im_end|>; the byte tokenizer has a token for each byte of the answer
    first = last - len(answer)
    return logits[first - 1 : last], ids[first : last + 1]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pack_is_what_plain_transformers_computes_one_by_one(
    name: str, opened: Callable[[str], ReadyVlm], tmp_path: Path
) -> None:
    vlm, images = opened(name), save_images(tmp_path)
    proof = prove(vlm)
    facts = EXPECTED[name]
    assert (proof.way, proof.caches_features, vlm.processor.counts) == (facts.way, facts.caches, facts.counts)
    assert proof.shares_prefixes == (facts.way == Way.SPANS)
    encoder = ReadyEncoder(vlm.processor)
    samples = [encoder.encode(conversation(*record, images))[0] for record in RECORDS]
    pack = collate_ready(samples, vlm)
    ours = at_targets(vlm, pack)
    plain = [plain_logits(vlm, answer, plain_inputs(vlm, question, answer, images)) for question, answer in RECORDS]
    theirs, targets = (torch.cat(parts) for parts in zip(*plain, strict=True))
    assert pack.text.targets.tolist() == targets.tolist()
    assert theirs.std() > 0.3, "logits that are all alike would prove nothing"
    assert (ours - theirs).abs().max() < 1e-4
    gradients = [
        torch.autograd.grad(cross_entropy(logits, targets), list(vlm.hf.parameters()), allow_unused=True)
        for logits in (ours, theirs)
    ]
    for mine, other in zip(*gradients, strict=True):
        assert (mine is None) == (other is None)
    flat = [torch.cat([part.flatten() for part in found if part is not None]) for found in gradients]
    assert cosine_similarity(flat[0], flat[1], 0) > 0.9999


@pytest.mark.parametrize("name", [name for name, facts in EXPECTED.items() if facts.way == Way.SPANS])
def test_questions_about_one_image_share_it(name: str, opened: Callable[[str], ReadyVlm], tmp_path: Path) -> None:
    vlm, images = opened(name), save_images(tmp_path)
    encoder = ReadyEncoder(vlm.processor)
    chosen = (RECORDS[0], RECORDS[3])
    samples = [encoder.encode(conversation(*record, images))[0] for record in chosen]
    tree = share_one_prefix(samples, vlm.processor.row_id)
    assert len(tree.ids) < sum(len(sample.ids) for sample in samples) - int(
        (samples[0].ids == vlm.processor.row_id).sum()
    )
    vlm.attend(Way.SPANS)
    ours = at_targets(vlm, collate_ready([tree], vlm))
    plain = [plain_logits(vlm, answer, plain_inputs(vlm, question, answer, images)) for question, answer in chosen]
    assert (ours - torch.cat([logits for logits, _ in plain])).abs().max() < 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_are_known_from_the_sizes_alone(name: str, opened: Callable[[str], ReadyVlm], tmp_path: Path) -> None:
    vlm = opened(name)
    noise = [Image.open(path).convert("RGB") for path in save_images(tmp_path)]
    for chosen in ([0], [1], [2], [2, 0], [1, 2]):
        some = [noise[number] for number in chosen]
        sizes = [image.size for image in some]
        text = vlm.processor.image_token * len(some)
        made = vlm.processor.hf(text=[text], images=[some], return_text_replacement_offsets=True)
        written = [found["replacement"] for found in made["text_replacement_offsets"][0]]
        assert list(vlm.processor.written(sizes)) == written
