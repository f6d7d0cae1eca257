"""Messages from what browsers send: chat history, questions, uploads, stored chats."""

from pathlib import Path
from typing import Any

import pytest

from demo.pages.parts.browser_state import restore
from demo.pages.parts.chat_messages import conversation
from demo.server.limits import Limits
from llm.errors import ImageError, RecordError
from llm.formats.conversation import ImageRef, Message
from tests.demo.conftest import noise_image

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


def test_an_answer_stopped_at_once_leaves_one_question() -> None:
    history = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": [{"type": "text", "text": ""}]}]
    assert conversation(history, asked("Two?"), "", LIMITS) == (Message("user", ("One?", "\n", "Two?")),)


def test_a_file_that_was_not_uploaded_is_rejected(uploads: Path, bananas: Path) -> None:
    for path in (bananas / "1.png", uploads / ".." / "x.png", uploads, Path(), Path("/etc/passwd")):
        with pytest.raises(ImageError, match="an image that was not uploaded to this server"):
            conversation([], asked("What?", path), "", LIMITS)


def test_errors_for_an_upload_do_not_contain_its_path(uploads: Path, tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(b"not an image")
    with pytest.raises(ImageError) as caught:
        conversation([], asked("What?", file), "", LIMITS)
    assert "secret" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    file.write_bytes(noise_image(1))
    with pytest.raises(RecordError, match="more than 4 images"):
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
