"""The hub that does not answer, refuses or is not there: said within two seconds, with what to do."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from huggingface_hub import constants

from llm import hub_access
from llm.errors import ModelError
from llm.hub_access import why_unreachable
from llm.model.model_folder import local_folder

Serve = Callable[[bytes | None], str]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a hub that sends one reply to every request, or none at all; returns its address."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(reply: bytes | None) -> str:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        threading.Thread(target=_answer, args=(listening, reply), daemon=True).start()
        return address

    yield serve
    listening.close()


def _answer(listening: socket.socket, reply: bytes | None) -> None:
    connections = []
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        connections.append(connection)
        if reply is not None:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 " + reply + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.close()


@pytest.mark.parametrize(
    ("reply", "why"),
    [(b"200 OK", ""), (b"404 Not Found", ""), (b"403 Forbidden", ""), (b"503 Unavailable", "it answers 503")],
)
def test_a_hub_that_answers_is_asked(hub: Serve, reply: bytes, why: str) -> None:
    hub(reply)
    assert why_unreachable() == why


def test_a_hub_that_is_silent_is_left_after_two_seconds(hub: Serve) -> None:
    hub(None)
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"fetched from 127.0.0.1:\d+: no answer within 2 s; HF_HUB_ETAG_TIMEOUT sets"):
        local_folder("org/name", ("config.json",))
    assert 1.9 < time.monotonic() - began < 4


def test_a_name_that_is_looked_up_forever_is_left_too(hub: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(b"200 OK")
    monkeypatch.setattr(hub_access, "PATIENCE_S", 0.1)
    monkeypatch.setattr(hub_access, "_ask", lambda endpoint, seconds: threading.Event().wait(5) and "")
    began = time.monotonic()
    assert why_unreachable().startswith("no answer within 0.1 s")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [("http://127.0.0.1:1", "refused"), ("", "unknown url type"), ("huggingface.co", "unknown url type")],
)
def test_why_it_cannot_be_asked_is_said(hub: Serve, monkeypatch: pytest.MonkeyPatch, endpoint: str, why: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    assert why in why_unreachable()


def test_offline_by_choice_asks_nobody(hub: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    began = time.monotonic()
    assert why_unreachable() == "HF_HUB_OFFLINE is set" and time.monotonic() - began < 0.5


def test_the_advice_names_what_is_needed_mirrors_and_sentences_end(hub: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(b"503 Unavailable")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    with pytest.raises(ModelError) as raised:
        local_folder("Qwen/Qwen2.5-0.5B", ("config.json",))
    told = str(raised.value)
    assert "it answers 503. Only config.json is needed here. Where the hub can be reached, run `hf download " in told
    assert "`hf download Qwen/Qwen2.5-0.5B config.json --local-dir models/Qwen2.5-0.5B`" in told
    assert "HF_ENDPOINT=https://hf-mirror.com" in told
    assert "`modelscope download --model Qwen/Qwen2.5-0.5B --local_dir models/Qwen2.5-0.5B`" in told
    with pytest.raises(ModelError) as raised:
        local_folder("Qwen/Qwen2.5-0.5B", ("*.json", "*.safetensors"))
    assert "`hf download Qwen/Qwen2.5-0.5B --local-dir" in str(raised.value), "the complete folder where weights count"
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com")
    with pytest.raises(ModelError) as raised:
        local_folder("Qwen/Qwen2.5-0.5B", ("*.json",))
    assert "A mirror" not in str(raised.value), "it is the one that was asked"
