"""What a stranger may send. Everything beyond is refused before it is decoded or queued."""

from dataclasses import dataclass

from vlm.images import ImageLimits

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
IMAGE = ImageLimits(max_pixels=20_000_000, max_bytes=10 * 2**20, formats=FORMATS)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request, and of those that wait."""

    images: int = 4  # a message
    image: ImageLimits = IMAGE
    text: int = 100_000  # characters of all messages
    messages: int = 200
    body: int = 64 * 2**20  # bytes: four images of 10 MB in base64, and room
    waiting: int = 8  # requests that wait for their turn
    new_tokens: int = 4096


DEFAULT = Limits()
