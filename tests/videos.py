"""Small videos, made by PyAV: frame k is grey of the value SHADES * k. Tests that read them are skipped without it."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHADES = 20
SIDE = 64


def video_bytes(
    frames: int = 10,
    rate: int | Fraction = 5,
    codec: str = "libx264",
    kind: str = "mp4",
    side: int = SIDE,
    flags: str = "",
) -> bytes:
    """A video of `frames / rate` seconds; `flags` are those of MP4."""
    av = pytest.importorskip("av", reason="PyAV is not installed: make install")
    stream = BytesIO()
    with av.open(stream, "w", format=kind, options={"movflags": flags} if flags else {}) as container:
        video = container.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt, video.gop_size = SIDE, SIDE, "yuv420p", 4
        for number in range(frames):
            pixels = np.full((SIDE, SIDE, 3), SHADES * number % 256, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
    return stream.getvalue()


def sound_bytes() -> bytes:
    """An MP4 of a tenth of a second of sound without pictures."""
    av = pytest.importorskip("av", reason="PyAV is not installed: make install")
    stream = BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux([*audio.encode(frame), *audio.encode()])
    return stream.getvalue()


def save_video(path: Path, **how: object) -> Path:
    """As `video_bytes`, in a file."""
    path.write_bytes(video_bytes(**how))
    return path


def shade(image: Image.Image) -> int:
    """Which frame an image is, by its grey."""
    return round(float(np.asarray(image).mean()) / SHADES)
