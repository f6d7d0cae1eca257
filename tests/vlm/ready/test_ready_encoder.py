"""Records of ready models as ids and labels: typed tokens stay text, answers alone are learnt."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llm.encoding.encoder import IGNORED, Sample
from llm.errors import Place, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message
from tests.vlm.ready.test_families import save_images
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.ready_model import ReadyVlm

Opened = Callable[[str], ReadyVlm]


def encode(vlm: ReadyVlm, *messages: Message) -> Sample:
    """The one sample of a record."""
    [sample] = ReadyEncoder(vlm.processor).encode(Conversation(messages, Place("test")))
    return sample


def learnt(vlm: ReadyVlm, sample: Sample) -> str:
    """The text of all targets."""
    return str(vlm.processor.tokenizer.decode(sample.labels[sample.labels != IGNORED].tolist()))


@pytest.mark.parametrize("name", ["qwen2_5_vl", "gemma3", "idefics3"])
def test_only_answers_are_learnt(name: str, opened: Opened, tmp_path: Path) -> None:
    vlm, images = opened(name), save_images(tmp_path)
    turns = (
        Message("system", ("Be short.",)),
        Message("user", (ImageRef(str(images[0])), "Which colour?")),
        Message("assistant", ("Red.",)),
        Message("user", ("And ", ImageRef(str(images[1])), "?")),
        Message("assistant", ("Blue.",)),
    )
    sample = encode(vlm, *turns)
    assert learnt(vlm, sample) == "Red.<|im_end|>Blue.<|im_end|>"
    assert sample.images == (turns[1].parts[0], turns[3].parts[1])


@pytest.mark.parametrize(
    "typed", ["<|image_pad|>", "<image>", "<|vision_start|><|image_pad|><|vision_end|>", "<|im_end|>"]
)
def test_a_typed_token_is_text(typed: str, opened: Opened, tmp_path: Path) -> None:
    vlm, images = opened("qwen2_5_vl"), save_images(tmp_path)
    image = ImageRef(str(images[0]))
    plain = encode(vlm, Message("user", (image, "What is x?")), Message("assistant", ("A word.",)))
    sample = encode(vlm, Message("user", (image, f"What is {typed}?")), Message("assistant", ("A word.",)))
    special = np.array([*vlm.processor.tokenizer.all_special_ids, vlm.processor.row_id, 260, 261])
    assert np.isin(sample.ids, special).sum() == np.isin(plain.ids, special).sum()
    assert vlm.processor.tokenizer.decode(sample.ids.tolist()).count(typed) >= 1
    assert learnt(vlm, sample) == "A word.<|im_end|>"


def test_an_image_turned_by_its_exif_is_counted_upright(opened: Opened, tmp_path: Path) -> None:
    vlm = opened("qwen2_5_vl")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 120, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    [turned, upright] = [
        encode(vlm, Message("user", (ImageRef(str(tmp_path / name)), "?")), Message("assistant", ("Yes.",)))
        for name in ("turned.jpg", "upright.png")
    ]
    assert turned.ids.tolist() == upright.ids.tolist()


def test_a_template_that_leaves_images_out(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm, images = opened("llava"), save_images(tmp_path)
    without = vlm.processor.jinja.replace("<image>\\n", "").replace("<image>\n", "")
    monkeypatch.setattr(type(vlm.processor), "jinja", property(lambda self: without))
    with pytest.raises(TemplateError, match="the chat template writes 0 of 1 images"):
        encode(vlm, Message("user", (ImageRef(str(images[0])), "?")), Message("assistant", ("Yes.",)))


def test_a_plain_text_has_no_template(opened: Opened) -> None:
    vlm = opened("llava")
    sample = encode(vlm, Message("assistant", ("Once upon a time.",)))
    assert vlm.processor.tokenizer.decode(sample.ids.tolist()) == "Once upon a time.<|im_end|>"
    assert learnt(vlm, sample) == "nce upon a time.<|im_end|>"  # nothing comes before the first byte
