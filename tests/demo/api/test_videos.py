"""Videos over the API, as vLLM takes them: data URLs within limits, shown to the model as its frames."""

import base64
import sys
from dataclasses import replace

import httpx2 as httpx
import pytest

from demo.api.chat_request import ChatRequest, messages_of
from demo.server.input_checks import shown_frames
from demo.server.limits import DEFAULT, Limits
from demo.server.visitor_errors import RefusedImage, RequestError
from llm.formats.conversation import ImageRef, VideoRef
from tests.demo.conftest import Server, data_url, noise_image
from tests.videos import shade, sound_bytes, video_bytes
from vlm.vision.images import read_image

Json = dict[str, object]


def url(data: bytes, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def part(data: bytes) -> Json:
    return {"type": "video_url", "video_url": {"url": url(data)}}


def body(*parts: Json, model: str = "eyes", role: str = "user") -> Json:
    turns = [{"role": role, "content": [*parts, {"type": "text", "text": "What happens?"}]}]
    turns += [{"role": "user", "content": "And?"}] if role == "assistant" else []
    return {"model": model, "messages": turns, "max_tokens": 4, "temperature": 0}


def read(request: Json, limits: Limits = DEFAULT) -> list[object]:
    return [one for message in messages_of(ChatRequest.model_validate(request), limits) for one in message.parts]


@pytest.mark.parametrize(
    "form",
    [
        lambda data: part(data),
        lambda data: {"type": "video_url", "video_url": url(data)},
        lambda data: {"type": "input_video", "video_url": {"url": url(data, "video/webm")}},
        lambda data: {"type": "video", "video": url(data, "")},
        lambda data: {"video_url": {"url": url(data)}},
    ],
)
def test_a_video_is_read_in_every_form(form: object) -> None:
    data = video_bytes()
    assert callable(form)
    assert read(body(form(data))) == [VideoRef(data=data), "What happens?"]
    assert read(body({"type": "text", "text": "Q"}, form(data)) | {})[0] == "Q"


def test_the_model_sees_the_frames_of_its_recipe(server: Server) -> None:
    messages = messages_of(ChatRequest.model_validate(body(part(video_bytes()))), DEFAULT)
    first, second, text = shown_frames(server.eyes, messages)[0].parts
    assert isinstance(first, ImageRef) and isinstance(second, ImageRef) and text == "What happens?"
    assert [shade(read_image(one)) for one in (first, second)] == [2, 7], "two seconds, a frame each"


def test_a_video_is_answered_as_its_frames(server: Server) -> None:
    data = video_bytes()
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body(part(data)), timeout=60)
    assert answer.status_code == 200, answer.text
    messages = messages_of(ChatRequest.model_validate(body(part(data))), DEFAULT)
    images = [one for one in shown_frames(server.eyes, messages)[0].parts if isinstance(one, ImageRef)]
    same = body(*({"type": "image_url", "image_url": {"url": url(one.data, "image/png")}} for one in images))
    other = httpx.post(f"{server.url}/v1/chat/completions", json=same, timeout=60)
    assert answer.json()["choices"] == other.json()["choices"]
    assert "eyegraft-no-effect" not in answer.headers


def test_a_server_without_pyav_names_the_extra(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    request = body(part(video_bytes()))
    monkeypatch.setitem(sys.modules, "av", None)
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=request, timeout=60)
    assert answer.status_code == 503 and "eyegraft[video]" in answer.json()["error"]["message"]


def test_a_text_model_says_so(server: Server) -> None:
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body(part(video_bytes()), model="text"), timeout=60)
    assert answer.status_code == 400 and "reads text only" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"type": "video_url", "video_url": {"url": "https://x.org/a.mp4"}}, "no address is fetched"),
        ({"type": "video_url", "video_url": {"url": "file:///etc/passwd"}}, "no address is fetched"),
        ({"type": "video_url", "video_url": {"url": data_url(noise_image(0))}}, "a video that is not a data:video/"),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}}, "a video of 0 bytes"),
    ],
)
def test_what_is_no_video_is_refused(given: Json, found: str) -> None:
    with pytest.raises(RequestError, match=found):
        read(body(given))


def test_videos_are_bounded() -> None:
    data = video_bytes()
    small = replace(DEFAULT, video=replace(DEFAULT.video, max_bytes=len(data) // 2))
    with pytest.raises(RequestError, match="the video is larger than") as caught:
        read(body(part(data)), small)
    assert caught.value.limit is not None and caught.value.limit.reason == "video_bytes"
    with pytest.raises(RequestError, match="more than 1 videos"):
        read(body(part(data), part(data)))
    with pytest.raises(RequestError, match="Only questions may have videos"):
        read(body(part(data), role="assistant"))
    short = replace(DEFAULT, video=replace(DEFAULT.video, max_seconds=1.0))
    with pytest.raises(RefusedImage, match="message 1: .* Cut out the part that is meant and send that"):
        read(body(part(data)), short)
    with pytest.raises(RefusedImage, match="it has no pictures, only sound. Send a file with pictures that move"):
        read(body(part(sound_bytes())))


def test_a_message_of_a_video_alone_is_a_question() -> None:
    request = {"model": "eyes", "messages": [{"role": "user", "content": [part(video_bytes())]}]}
    assert [type(one) for one in read(request)] == [VideoRef]
