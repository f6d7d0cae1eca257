"""Messages from what browsers send: chat history, questions, uploads, stored chats."""

import re
from pathlib import Path
from typing import Any

import pytest

from demo.pages.parts.browser_state import restore
from demo.pages.parts.chat_messages import accepted, conversation, is_refusal, refusal, refusal_text
from demo.server.limits import Limits
from llm.errors import DataError, ImageError
from llm.formats.conversation import ImageRef, Message, VideoRef
from tests.demo.conftest import noise_image
from tests.videos import sound_bytes, video_bytes

LIMITS = Limits(waiting=1)


def asked(text: str, *files: Path) -> dict[str, Any]:
    return {"text": text, "files": [str(file) for file in files]}


def test_history_is_converted_from_both_of_gradios_forms(uploads: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(noise_image(1))
    image = ImageRef(data=noise_image(1))
    browser = [
        {"role": "user", "content": [{"type": "file", "file": {"path": str(file)}}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
    ]
    client = [{"role": "user", "content": {"path": str(file)}}, {"role": "user", "content": "What?"}]
    client += [{"role": "assistant", "content": "A dog."}]
    expected = (
        Message("system", ("Be brief.",)),
        Message("user", (image, "What?")),
        Message("assistant", ("A dog.",)),
        Message("user", ("Sure?",)),
    )
    for history in (browser, client):
        assert conversation(history, asked("Sure?"), " Be brief. ", LIMITS) == expected


def test_an_uploaded_video_is_known_by_its_content(uploads: Path, tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(video_bytes())
    assert conversation([], asked("What?", tmp_path / "clip"), "", LIMITS) == (
        Message("user", (VideoRef(data=video_bytes()), "What?")),
    )
    (tmp_path / "sound.mp4").write_bytes(sound_bytes())
    with pytest.raises(ImageError, match=r"sound\.mp4: it has no pictures, only sound. Send a file with pictures"):
        conversation([], asked("What?", tmp_path / "sound.mp4"), "", LIMITS)


def test_an_answer_stopped_at_once_leaves_one_question() -> None:
    history = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": [{"type": "text", "text": ""}]}]
    assert conversation(history, asked("Two?"), "", LIMITS) == (Message("user", ("One?", "\n\n", "Two?")),)


def test_a_file_that_was_not_uploaded_is_rejected(uploads: Path, bananas: Path) -> None:
    for path in (bananas / "1.png", uploads / ".." / "x.png", uploads, Path(), Path("/etc/passwd")):
        with pytest.raises(ImageError, match="the image: it was not uploaded to this server. Upload it again"):
            conversation([], asked("What?", path), "", LIMITS)


def said(role: str, *parts: object, **more: object) -> dict[str, Any]:
    return {"role": role, "content": [*parts], "metadata": None, **more}


def test_what_was_refused_leaves_the_history(uploads: Path, tmp_path: Path) -> None:
    """The question with a broken image and the reason; what was answered before and after stays."""
    (tmp_path / "broken.png").write_bytes(noise_image(1)[:200])
    broken = {"type": "file", "file": {"path": str(tmp_path / "broken.png")}}
    history = [
        said("user", {"type": "text", "text": "One?"}),
        said("assistant", {"type": "text", "text": "First."}),
        said("user", broken, {"type": "text", "text": "What is it?"}),
        refusal("broken.png: broken or cut off"),
        said("user", {"path": str(tmp_path / "broken.png")}),  # gradio's Python client sends file and text apart
        said("user", "And this?"),
        refusal("again"),
        said("user", "Two?"),
        said("assistant", "Second."),
    ]
    asked_now = conversation(history, asked("Three?"), "", LIMITS)
    assert [message.text for message in asked_now] == ["One?", "First.", "Two?", "Second.", "Three?"]
    with pytest.raises(ImageError):
        conversation(history[:3], asked("Three?"), "", LIMITS)
    stored = restore([turn | {"content": turn["content"]} for turn in history], LIMITS)
    assert accepted(stored) == [turn for turn in stored if not is_refusal(turn)][:2] + stored[-2:]
    assert not is_refusal(said("user", "x", metadata={"id": "refused"})), "only answers are reasons"


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("my holiday (1).png", b"", "my holiday (1).png: the image is empty. Choose the file again: it has 0 bytes"),
        ("猫.png", noise_image(1)[:200], "猫.png: broken or cut off"),
        ("page.png", b"<!doctype html><p>404</p>", "page.png: a web page, not an image. Open the address in a browser"),
        ("a.jpg", b"text", 'a.jpg: a text file that begins "text". Send one of JPEG, PNG'),
    ],
)
def test_a_refused_image_has_the_visitors_own_name(
    uploads: Path, tmp_path: Path, name: str, data: bytes, found: str
) -> None:
    (tmp_path / "some-hash").mkdir()
    file = tmp_path / "some-hash" / name
    file.write_bytes(data)
    for question in (asked("What?", file), {"text": "What?", "files": [{"path": str(file)}]}):
        with pytest.raises(ImageError) as caught:
            conversation([], question, "", LIMITS)
        text = refusal_text(caught.value, "en", str)
        assert text.startswith(found) and "some-hash" not in text and "record" not in text
        assert re.search("[\u4e00-\u9fff]{3}", refusal_text(caught.value, "zh", str).removeprefix(name))


def test_errors_for_an_upload_do_not_contain_its_path(uploads: Path, tmp_path: Path) -> None:
    file = tmp_path / "private" / "mine.png"
    file.parent.mkdir()
    file.write_bytes(b"not an image")
    with pytest.raises(ImageError) as caught:
        conversation([], asked("What?", file), "", LIMITS)
    assert "private" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    file.write_bytes(noise_image(1))
    with pytest.raises(DataError, match="more than 4 images"):
        conversation([], asked("What?", *[file] * 5), "", LIMITS)


def test_only_valid_parts_of_a_stored_chat_are_restored(tmp_path: Path, monkeypatch: Any) -> None:
    """The browser may send any path: only uploads are restored, and no more turns than the limit."""
    monkeypatch.setattr("demo.server.uploads.get_upload_folder", lambda: str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    upload, secret = tmp_path / "uploads/1.png", tmp_path / "secret.png"
    for file in (upload, secret):
        file.write_bytes(noise_image(1))
    (tmp_path / "uploads/link.png").symlink_to(secret)
    names = [
        str(upload),
        str(secret),
        "/etc/passwd",
        f"{tmp_path}/uploads/../secret.png",
        f"{tmp_path}/uploads/link.png",
    ]
    shown: list[Any] = [
        {"type": "file", "file": {"path": name}}
        for name in [*names, f"{tmp_path}/uploads/gone.png", "a\0b", "\ud800", 7]
    ]
    said = [
        {"role": "user", "content": [*shown, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A"},
    ]
    restored = restore(said, LIMITS)
    assert restored == [
        {"role": "user", "content": [{"path": str(upload)}, "What?"]},
        {"role": "assistant", "content": ["A"]},
    ]
    asked = conversation(restored, {"text": "And now?"}, "", LIMITS)
    assert [message.text for message in asked] == ["What?", "A", "And now?"]
    assert asked[0].parts[0] == ImageRef(data=noise_image(1))
    turns: list[Any] = [None, 3, "x", {"role": "user"}, [1, None, []], [{"role": "system", "content": "x"}]]
    for junk in (*turns, [{"role": "user"}]):
        assert restore(junk, LIMITS) == []
    assert len(restore([said[1]] * 1000, LIMITS)) == 2 * LIMITS.messages
    assert restore([{"role": "user", "content": ["x" * LIMITS.text, "y"]}], LIMITS) == []
    assert len(restore([{"role": "user", "content": ["x"] * 1000}], LIMITS)[0]["content"]) < 100
