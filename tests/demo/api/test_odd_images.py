"""Images of odd shapes and kinds over the API: the verdict of training, in bounded memory, and never a failure."""

import io
import resource
from collections.abc import Callable

import httpx2 as httpx
import pytest
from PIL import Image, PngImagePlugin

from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from tests.demo.conftest import Server, data_url, noise_image
from vlm.vision.images import read_image

MIB = 2**20


def image(mode: str, size: tuple[int, int], kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind, **options)
    return stream.getvalue()


def with_text() -> bytes:
    """A PNG with 3 MB of text in front of its pixels."""
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 3 * MIB)
    return image("RGB", (16, 16), pnginfo=text)


def cut_animation() -> bytes:
    """A GIF whose second frame ends early."""
    frames = [Image.effect_noise((64, 64), 90).convert("RGB") for _ in range(2)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()[:-900]


ODD: dict[str, Callable[[], bytes]] = {
    "a strip of one bit": lambda: image("1", (90, 200_000)),
    "a long screenshot": lambda: image("RGB", (1_080, 18_000)),
    "one column": lambda: image("L", (1, 60_000)),
    "one row": lambda: image("L", (30_000, 1)),
    "one pixel": lambda: image("RGBA", (1, 1)),
    "16 bits": lambda: image("I;16", (40, 30)),
    "a palette": lambda: image("P", (40, 30)),
    "inks": lambda: image("CMYK", (40, 30), "JPEG"),
    "text": with_text,
    "a cut animation": cut_animation,
    "a broken PNG": lambda: noise_image(1)[:300],
    "a brand of HEIC": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
    "a PDF": lambda: b"%PDF-1.7\n" + bytes(200),
    "a video": lambda: b"\0\0\0\x18ftypisom\0\0\0\0mp41isom" + bytes(200),
    "zeros": lambda: bytes(5_000),
}


@pytest.mark.parametrize("kind", ODD)
def test_the_verdict_is_that_of_training(server: Server, kind: str) -> None:
    data = ODD[kind]()
    try:
        read_image(ImageRef(data=data))
        expected = 200
    except ImageError:
        expected = 400
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": data_url(data)}}]
    body = {"model": "eyes", "messages": [{"role": "user", "content": content}], "max_tokens": 1}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert answer.status_code == expected, answer.text
    assert grown < 300, f"{grown:.0f} MiB"
    if expected == 400:
        message = answer.json()["error"]["message"]
        assert message.startswith("message 1: ") and "record" not in message and "source" not in message
