"""Which frames of a video a model sees, and frames as the images that they are to the rest of the program."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import groupby
from pathlib import Path

from PIL import Image

from llm.config.schema import VideoConfig
from llm.files.regular_files import open_regular
from llm.formats.conversation import ImageRef, VideoRef
from vlm.vision.images import read_image
from vlm.vision.videos import DEFAULT_LIMITS, VideoLimits, read_frames, read_header


class VideoFrames:
    """Chooses frames by the rule of a recipe: frames a second up to a number, or always as many."""

    def __init__(self, rule: VideoConfig, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        self.rule, self.limits = rule, limits

    def __call__(self, video: VideoRef) -> tuple[ImageRef, ...]:
        """The frames in the order of time, each the middle one of its share of the video. ImageError as `read_header`.

        Those of a video that came as bytes are decoded.
        """
        times = frame_times(read_header(video, self.limits).seconds, self.rule)
        if video.path:
            return tuple(ImageRef.of_frame(video.path, seconds) for seconds in times)
        return tuple(ImageRef(data=_png(frame)) for frame in read_frames(video, times, self.limits))

    def fingerprint(self) -> str:
        """As `ChooseFrames.fingerprint`."""
        return "" if self.rule == VideoConfig() else self.rule.model_dump_json()


def frame_times(seconds: float, rule: VideoConfig) -> tuple[float, ...]:
    """The times of the frames that a rule takes of a video of so many seconds, in milliseconds precisely."""
    count = rule.frames or min(rule.max_frames, max(1, round(seconds * rule.fps)))
    return tuple(round(seconds * (number + 0.5) / count, 3) for number in range(count))


def read_images(refs: Sequence[ImageRef]) -> Iterator[Image.Image]:
    """As `read_image` of each; frames of one video that follow each other are decoded in one pass."""
    for video, group in groupby(refs, lambda ref: ref.frame[0] if ref.frame else ""):
        if not video:
            yield from map(read_image, group)
            continue
        times = [ref.frame[1] for ref in group if ref.frame]
        frames = dict(zip(sorted(set(times)), read_frames(VideoRef(video), sorted(set(times))), strict=True))
        yield from (frames[seconds] for seconds in times)


def content_hash(image: ImageRef, most: int) -> str:
    """The sha256 of an image's bytes; of a frame, that of its video's bytes and the time. OSError, over `most` too."""
    if image.frame is None:
        return hashlib.sha256(image.data or _bytes(image.path, most)).hexdigest()
    video, seconds = image.frame
    found = os.stat(video)
    digest = _file_hash(video, found.st_size, found.st_mtime_ns)
    return hashlib.sha256(f"{digest}#t={seconds:.3f}".encode()).hexdigest()


def _bytes(path: str, most: int) -> bytes:
    with open_regular(Path(path), most) as file:
        return file.read()


@lru_cache(maxsize=4096)
def _file_hash(path: str, size: int, changed: int) -> str:
    """The hash of a video, once for all of its frames."""
    with open_regular(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _png(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
