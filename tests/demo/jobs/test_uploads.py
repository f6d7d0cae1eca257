"""Uploads without room are refused before they are read, or where they exceed it; and where they arrive."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from demo.jobs import file_routes
from demo.jobs.launch import FORM_BYTES, receive_uploads_in
from tests.demo.conftest import listening
from tests.demo.job_pages.stories import still_service
from vlm.service.file_storage import FileStorage, FileTooLargeError
from vlm.service.layout import Layout
from vlm.service.service import Service
from vlm.service.store.database import Database
from vlm.service.trainable_models import TrainableModels

PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
ROOM = 1000


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Service]]:
    """The address of a service with room for an upload of ROOM bytes."""
    monkeypatch.setattr(FileStorage, "room", lambda _: (ROOM, FileTooLargeError("no room")))
    with still_service(tmp_path, TrainableModels({}, frozenset())) as (app, service), listening(app) as url:
        yield url, service


@pytest.mark.parametrize("path", ["/v1/files", "/pages/files"])
@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_without_room_is_refused_where_it_exceeds_it(
    small: tuple[str, Service], path: str, declared: bool
) -> None:
    """The client sends no byte more than the room, and gets its answer: nothing of the rest is waited for."""
    url = httpx2.URL(small[0])
    length = f"content-length: {ROOM + FORM_BYTES + 1}" if declared else "transfer-encoding: chunked"
    kind = "content-type: multipart/form-data; boundary=b"
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{length}\r\n{kind}\r\n\r\n"
    part = PART + b"x" * (ROOM + FORM_BYTES + 1 - len(PART))
    with socket.create_connection((url.host, url.port or 0), timeout=60) as connection:
        connection.sendall(head.encode() + (b"" if declared else b"%x\r\n%b\r\n" % (len(part), part)))
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 413") and "no room" in answer and "file_too_large" in answer
    assert [*small[1].layout.files.iterdir()] == []


def test_an_upload_with_room_is_stored(small: tuple[str, Service]) -> None:
    sent = {"file": ("a.jsonl", b"x" * (ROOM + 500))}  # the room of the form is not measured to the byte
    answer = httpx2.post(f"{small[0]}/v1/files", data={"purpose": "fine-tune"}, files=sent)
    assert answer.json()["bytes"] == ROOM + 500
    assert httpx2.get(f"{small[0]}/v1/files").status_code == 200


def test_the_room_is_that_of_the_quota_or_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FileStorage(Database(tmp_path / "service.db"), Layout(tmp_path), 100, 120)
    for free, expected, words in (
        (1 << 40, 100, "100 bytes"),
        (2 * 2**30 + 60, 30, "nearly full"),
        (1000, 0, "nearly full"),
    ):
        monkeypatch.setattr("vlm.service.file_storage.free_bytes", lambda _, free=free: free)
        most, error = storage.room()
        assert most == expected and words in str(error)
    monkeypatch.setattr("vlm.service.file_storage.free_bytes", lambda _: 1 << 40)
    storage.add([b"x" * 90], "a.jsonl", "fine-tune")
    assert storage.room()[0] == 30


def test_uploads_arrive_in_the_services_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())  # and back afterwards
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    folder, seen = tmp_path / "arriving", list[str]()
    folder.mkdir()
    (folder / "left").touch()
    receive_uploads_in(folder)
    read = file_routes._chunks

    def watched(stream: Any) -> Iterator[bytes]:
        seen.append(os.readlink(f"/proc/self/fd/{stream.fileno()}"))
        return read(stream)

    monkeypatch.setattr(file_routes, "_chunks", watched)
    with still_service(tmp_path / "root", TrainableModels({}, frozenset())) as (app, _):
        sent = {"file": ("a.jsonl", bytes(2 << 20))}
        client = TestClient(app, base_url="http://127.0.0.1")
        assert client.post("/v1/files", data={"purpose": "fine-tune"}, files=sent).json()["bytes"] == 2 << 20
    assert [name.startswith(f"{folder}/") for name in seen] == [True] and [*folder.iterdir()] == []
