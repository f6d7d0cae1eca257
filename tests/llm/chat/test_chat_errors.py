"""Errors shown in a chat: every kind that images and questions can raise, without words of training data."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from llm.chat.chat_errors import chat_text
from llm.errors import EyegraftError, ImageError, ModelError, Place, RecordError, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message, check_conversation
from vlm.vision.images import ImageLimits, read_image

DATA_WORDS = ("record", "source", "recipe", "images: folder", "data.", "a.json")


def _png(folder: Path) -> bytes:
    Image.new("RGB", (64, 64), "red").save(folder / "x.png")
    return (folder / "x.png").read_bytes()


FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty.png": lambda png: b"",
    "cut.png": lambda png: png[: len(png) // 2],
    "page.png": lambda png: b"<!DOCTYPE html><html></html>",
    "text.png": lambda png: b"hello",
    "big.png": lambda png: png,
}


@pytest.mark.parametrize("name", [*FILES, "missing.png", "."])
def test_a_refused_image_is_named_without_words_of_training_data(tmp_path: Path, name: str) -> None:
    if name in FILES:
        (tmp_path / name).write_bytes(FILES[name](_png(tmp_path)))
    with pytest.raises(ImageError) as raised:
        read_image(ImageRef(str(tmp_path / name)), ImageLimits(max_pixels=64 * 32))
    told = chat_text(raised.value)
    assert told.startswith(f"{tmp_path / name}: ") and len(told.removeprefix(str(tmp_path)).split(". ")) == 2
    assert not [word for word in DATA_WORDS if word in told.removeprefix(str(tmp_path))]


@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", ("one",)), Message("user", ("two",)), Message("assistant", ("a",))),
        (Message("user", (ImageRef(""), "one")), Message("assistant", ("a",))),
        (Message("user", (" ",)), Message("assistant", ("a",))),
        (Message("system", (ImageRef("a.png"),)), Message("user", ("one",)), Message("assistant", ("a",))),
    ],
)
def test_refused_turns_are_named_without_words_of_training_data(messages: tuple[Message, ...]) -> None:
    with pytest.raises(RecordError) as raised:
        check_conversation(Conversation(messages, Place("a.json", 3, "q7")))
    told = chat_text(raised.value)
    assert raised.value.found in told and ". " in told
    assert not [word for word in DATA_WORDS if word in told]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModelError("m: no weights in it. Download it again."), "m: no weights in it. Download it again."),
        (ModelError("m: no such folder. Copy it, or run `hf download m`"), "m: no such folder. Choose another model"),
        (ModelError("m: the run is damaged"), "this model cannot be opened. Choose another model"),
        (
            TemplateError("the chat template refuses the turns user, user: no. Set data.template"),
            "the chat template refuses the turns user, user: no. Start with a question, or leave the system prompt out",
        ),
        (
            TemplateError("a.json:3 (record 1): bad. Change the text there or choose another data.template"),
            "this model's chat format cannot hold these turns. Start with a question, or leave the system prompt out",
        ),
    ],
)
def test_advice_for_those_who_train_is_left_out(error: EyegraftError, told: str) -> None:
    assert chat_text(error) == told
