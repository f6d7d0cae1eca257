"""The API through OpenAI's own client: answers, streams, images, sampling and errors."""

import io
import json
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from PIL import Image

from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.formats.conversation import ImageRef, Message
from tests.demo.conftest import LIMITS, Server, data_url, noise_image

ASKED = [{"role": "user", "content": "What is it?"}]
JSON = {"content-type": "application/json"}
GREEDY = Sampling(max_new_tokens=LIMITS.new_tokens)


def looking(*urls: str, text: str = "What is it?") -> list[dict[str, Any]]:
    """A question about images, text first as in OpenAI's examples."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": text}, *images]}]


def said(server: Server, asked: list[dict[str, Any]]) -> str | None:
    """The answer of the vision model."""
    return server.client.chat.completions.create(model="eyes", messages=asked).choices[0].message.content


def test_models(server: Server) -> None:
    assert [model.id for model in server.client.models.list()] == ["eyes", "text"]


def test_the_api_answers_as_the_chat_model_does(server: Server) -> None:
    for name, chat_model in server.queue.chat_models.items():
        reply = server.client.chat.completions.create(model=name, messages=ASKED, temperature=0)
        said = chat_model.stream(question("What is it?"), GREEDY)
        assert reply.choices[0].message.content == "".join(said) == chat_model.answer(question("What is it?"), GREEDY)
        assert reply.choices[0].finish_reason == said.finish == "length"
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (said.prompt_tokens, 16)
        assert reply.model == name


def test_streamed_chunks_join_to_the_complete_answer(server: Server) -> None:
    asked = [{"role": "system", "content": "Be brief."}, *ASKED, {"role": "assistant", "content": "A dog."}, *ASKED]
    complete = server.client.chat.completions.create(model="text", messages=asked)
    chunks = list(
        server.client.chat.completions.create(
            model="text", messages=asked, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == complete.choices[0].message.content and len(chunks) > 4
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage == complete.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_images_change_the_answer(server: Server) -> None:
    """Several images, in one message and in the history: the same answers as from the chat model directly."""
    first, second = noise_image(1), noise_image(2, "JPEG")
    history = [*looking(data_url(first)), {"role": "assistant", "content": "A."}, *looking(data_url(second, "jpeg"))]
    both = looking(data_url(first), data_url(second))
    for asked, images in ((both, [(first, second)]), (history, [(first,), (second,)])):
        turns = [Message("user", (*(ImageRef(data=data) for data in shown), "What is it?")) for shown in images]
        messages = tuple(turns) if len(turns) == 1 else (turns[0], Message("assistant", ("A.",)), turns[1])
        assert said(server, asked) == server.eyes.answer(messages, GREEDY)
    seen = {said(server, looking(data_url(noise_image(seed)))) for seed in range(6)}
    assert len(seen) > 1, "the image changes the answer"


def test_sampling(server: Server) -> None:
    def say(**options: Any) -> str:
        reply = server.client.chat.completions.create(model="text", messages=ASKED, **options)
        return reply.choices[0].message.content or ""

    assert say(temperature=1.5, seed=3) == say(temperature=1.5, seed=3)
    assert len({say(temperature=1.5) for _ in range(4)}) > 1, "without a seed every answer draws one"
    complete = say()
    assert say(stop=[complete[2:4], "never"]) == complete.split(complete[2:4])[0]
    assert len(say(max_tokens=2)) < len(complete) and say(max_completion_tokens=2) == say(max_tokens=2)
    assert say(top_p=0.01, temperature=1.0) == complete, "with the most likely token only, sampling is greedy"


def bomb() -> bytes:
    """A PNG of a few hundred bytes whose header says 20,000 x 20,000 pixels."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def line() -> bytes:
    """A PNG of which a model would see nothing."""
    stream = io.BytesIO()
    Image.new("RGB", (1000, 2)).save(stream, "PNG")
    return stream.getvalue()


GOOD = data_url(noise_image(1))
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two answers": ({"n": 2}, "n: 2 is not offered here. Send the request again"),
    "tools": ({"tools": [{"type": "function"}]}, "tools: a list is not offered here. Switch tools"),
    "hot": ({"temperature": 9}, "temperature: "),
    "no messages": ({"messages": []}, "messages: "),
    "an answer last": ({"messages": [*ASKED, {"role": "assistant", "content": "A"}]}, "is an answer"),
    "empty": ({"messages": [{"role": "user", "content": " "}]}, "is empty"),
    "half a character": ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
    "an address": ({"messages": looking("https://example.com/a.png")}, "no address is fetched"),
    "an inner address": ({"messages": looking("http://169.254.169.254/latest")}, "no address is fetched"),
    "a file": ({"messages": looking("file:///etc/passwd")}, "no file is opened"),
    "a path": ({"messages": looking("/etc/passwd")}, "no file is opened"),
    "a data URL of text": ({"messages": looking("data:text/html;base64,AAAA")}, "no address is fetched"),
    "invalid base64": ({"messages": looking("data:image/png;base64,@@@@")}, "invalid base64"),
    "no image": ({"messages": looking(data_url(b"<svg onload=alert(1)>"))}, "an SVG drawing. Send one of JPEG, PNG"),
    "a line": ({"messages": looking(data_url(line()))}, "1000 x 2 pixels, one side more than 200"),
    "half an image": ({"messages": looking(data_url(noise_image(1)[:200]))}, "broken or cut off"),
    "a bomb": ({"messages": looking(data_url(bomb()))}, "pixels"),
    "large": ({"messages": looking(data_url(b"\0" * (10 * 2**20 + 3)))}, "larger than 10,485,760 bytes"),
    "five images": ({"messages": looking(*[GOOD] * 5)}, "more than 4 images"),
    "too long": ({"messages": [{"role": "user", "content": "long " * 600}]}, "the model reads 2,048"),
    "very long": ({"messages": [{"role": "user", "content": "x" * 100_001}]}, "more than 100,000 characters"),
    "an image for a text model": ({"model": "text", "messages": looking(GOOD)}, "reads text only"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_requests_are_rejected_with_a_reason(server: Server, case: str) -> None:
    changes, found = REFUSED[case]
    body = json.dumps({"model": "eyes", "messages": ASKED} | changes)
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=JSON)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert found in error["message"], error
    assert "/work" not in error["message"] and "Traceback" not in answer.text
    assert len(answer.text) < 600


def test_openais_client_maps_the_errors(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="available: eyes, text"):
        server.client.chat.completions.create(model="gpt-4o", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="no address is fetched"):
        server.client.chat.completions.create(model="eyes", messages=looking("https://example.com/a.png"))
    with pytest.raises(openai.NotFoundError, match="there is nothing at POST /v1/embeddings"):
        server.client.embeddings.create(model="eyes", input="x")
    with server.queue.turn():
        assert LIMITS.waiting == 1
        waits = server.queue.submit(server.eyes, question("What is it?"), GREEDY)
        with pytest.raises(openai.RateLimitError, match="the queue is full"):
            server.client.chat.completions.create(model="eyes", messages=ASKED)
        waits.close()
    headers = {"content-type": "application/json"}
    assert httpx.post(f"{server.url}/v1/chat/completions", content=b"{", headers=headers).status_code == 400


def test_a_client_that_disconnects_ends_the_generation(long_server: Server) -> None:
    """2,000 tokens take this model much longer than the timeout below."""
    for stream in (True, False):
        with httpx.Client(timeout=0.5 if not stream else 30) as client:
            asked = {"model": "text", "messages": ASKED, "stream": stream}
            try:
                with client.stream("POST", f"{long_server.url}/v1/chat/completions", json=asked) as answer:
                    next(answer.iter_lines())
                    assert stream, "the complete answer arrived before the client could disconnect"
            except httpx.ReadTimeout:
                assert not stream
        until = time.monotonic() + 3
        while long_server.queue.length:
            assert time.monotonic() < until, "the generation continued, or a queue entry was lost"
            time.sleep(0.01)


def test_an_internal_error_reveals_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("demo.api.app.messages_of", fail)
    answer = httpx.post(f"{server.url}/v1/chat/completions", json={"model": "text", "messages": ASKED})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in answer.text


def test_model_names_from_folders(tmp_path: Path) -> None:
    from demo.api.serve import model_folders
    from llm.errors import ConfigError

    named = model_folders([str(tmp_path / "a"), f"b={tmp_path / 'a'}"])
    assert named == {"a": tmp_path / "a", "b": tmp_path / "a"}
    with pytest.raises(ConfigError, match="two models are named a"):
        model_folders([str(tmp_path / "a"), str(tmp_path / "x" / "a")])
