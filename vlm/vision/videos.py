"""A video file: its header, checked within bounds, and the frames that it shows at given times as RGB images.

PyAV (the extra `video`) is imported by what needs it. The container is recognised by its first bytes and named to
FFmpeg, which would otherwise also open playlists that name other files and addresses.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from llm.errors import ConfigError, ImageError
from llm.files.regular_files import open_regular
from llm.formats.conversation import VideoRef
from llm.formats.image_paths import missing_advice
from vlm.vision.file_kinds import HEAD, kind_of

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

ENCODE = "Convert it to MP4 with H.264: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
_FETCH = "Fetch the video again, or convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
_KIND = "Name a video file: MP4, MOV, WebM, Matroska, AVI, FLV, MPEG, WMV or GIF"
_CUT = "Cut out the part that is meant: ffmpeg -ss START -to END -i IN OUT.mp4"
_INSTALL = "Videos are read by PyAV: pip install 'eyegraft[video]'"

# (where, bytes, FFmpeg's name of the container).
_CONTAINERS = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (8, b"AVI ", "avi"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x00\x00\x01\xb3", "mpegvideo"),
    (0, b"OggS", "ogg"),
    (0, b"GIF8", "gif"),
)
_TYPES = {"mov": "mp4", "matroska": "webm", "avi": "x-msvideo", "flv": "x-flv", "asf": "x-ms-wmv", "mpeg": "mpeg",
          "mpegvideo": "mpeg", "mpegts": "mp2t", "ogg": "ogg", "gif": "gif"}  # fmt: skip
_TIMED = frozenset({"mov", "matroska", "avi", "flv", "asf"})  # their headers say how long they are
_INDEXED = frozenset({"mov", "matroska", "avi"})  # after a jump they go on at a complete frame
_STILLS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # brands of images in the same container
_JUMP = 5.0  # seconds to the next wanted frame above which decoding goes on at a later one
_LATE = 1.0  # seconds by which a header may exceed the last frame, as with sound that goes on
_ROUNDING = 0.0006  # seconds: times are written in milliseconds
_TURNS = {90: Image.Transpose.ROTATE_90, -90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180,
          -180: Image.Transpose.ROTATE_180}  # fmt: skip


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """Limits that are checked on the header. An hour of 60 frames a second; frames of a 4K camera (4096 x 2304)."""

    max_seconds: float = 3600.0
    max_frames: int = 216_000
    max_bytes: int = 2 << 30
    max_pixels: int = 9_437_184


DEFAULT_LIMITS = VideoLimits()


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """What the header of a video says. `rate` in frames a second, 0 where it is not known."""

    width: int
    height: int
    seconds: float
    rate: float
    frames: int


def read_header(ref: VideoRef, limits: VideoLimits = DEFAULT_LIMITS) -> VideoHeader:
    """The header; no frame is decoded.

    Raises ImageError for a file that is missing, no video, without frames, of an unknown codec or over the limits, and
    ConfigError without PyAV.
    """
    with _opened(ref, limits) as video:
        return video.header


def read_frames(ref: VideoRef, times: Sequence[float], limits: VideoLimits = DEFAULT_LIMITS) -> Iterator[Image.Image]:
    """The upright frames that are shown at these times, in seconds from the beginning and in rising order.

    Raises as `read_header`, and ImageError for a frame that cannot be decoded.
    """
    assert list(times) == sorted(times), times
    with _opened(ref, limits) as video:
        player = _Player(video, limits)
        for seconds in times:
            yield player.at(seconds)


def is_video(data: bytes) -> bool:
    """Whether the bytes begin as those of a video; animations (GIF) count as images here."""
    try:
        return _kind(BytesIO(data), VideoRef(data=data)) != "gif"
    except ImageError:
        return False


def media_type(data: bytes, ref: VideoRef) -> str:
    """The media type of a video's bytes, such as `video/mp4`. Raises ImageError for bytes that are no video."""
    return f"video/{_TYPES[_kind(BytesIO(data), ref)]}"


def name_of(ref: VideoRef) -> str:
    """Name of a video in messages."""
    return ref.path or f"<a video of {len(ref.data):,} bytes>"


@dataclass(slots=True)
class _Video:
    """An open file."""

    ref: VideoRef
    container: "InputContainer"
    stream: "av.VideoStream"
    kind: str
    header: VideoHeader


@contextmanager
def _opened(ref: VideoRef, limits: VideoLimits) -> Iterator[_Video]:
    with _source(ref) as source:
        size = source.seek(0, SEEK_END)
        if size == 0:
            raise ImageError("the video is empty", _FETCH, name_of(ref), "video-empty")
        if size > limits.max_bytes:
            raise _over(ref, f"{size:,} bytes, at most {limits.max_bytes:,} are read")
        kind = _kind(source, ref)
        header = _header(source, kind, ref, limits)
        with _container(source, kind, ref) as container:
            yield _Video(ref, container, _stream(container, ref), kind, header)


@contextmanager
def _container(source: BinaryIO, kind: str, ref: VideoRef) -> Iterator["InputContainer"]:
    try:
        import av  # an optional package
    except ImportError as error:
        raise ConfigError(f"{name_of(ref)}: {_INSTALL}") from error
    source.seek(0)
    try:
        with av.open(source, format=kind, metadata_errors="replace") as container:
            yield container
    except (av.FFmpegError, EOFError) as error:
        raise ImageError(f"broken or cut off ({_said(error)})", _FETCH, name_of(ref), "video-broken") from error


def _said(error: Exception) -> str:
    return str(error).partition("]")[2].partition(":")[0].strip() or type(error).__name__


def _source(ref: VideoRef) -> BinaryIO:
    """The stream that FFmpeg reads. Raises ImageError if there is no such file or the name is invalid."""
    if not ref.path:
        return BytesIO(ref.data)
    try:
        return open_regular(Path(ref.path))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        found = "no such file"
    except IsADirectoryError:
        found = "a folder"
    except OSError as error:
        found = f"cannot be opened ({error.strerror})"
    raise ImageError(found, missing_advice(ref.path), ref.path, "video-missing")


def _kind(source: BinaryIO, ref: VideoRef) -> str:
    """FFmpeg's name of the container. Raises ImageError for a file that is no video."""
    source.seek(0)
    start = source.read(HEAD)
    if not (start[4:8] == b"ftyp" and start[8:12] in _STILLS):
        for where, magic, name in _CONTAINERS:
            if start.startswith(magic, where):
                return name
        if start[:1] == b"G" and start[188:189] == b"G":
            return "mpegts"
    found = kind_of(start, ())
    raise ImageError(f"{found.name if found else 'unknown data'}, not a video", _KIND, name_of(ref), "video-kind")


def _stream(container: "InputContainer", ref: VideoRef) -> "av.VideoStream":
    from av.stream import Disposition

    streams = [one for one in container.streams.video if Disposition.attached_pic not in one.disposition]
    if not streams:
        raise ImageError("it has no pictures, only sound", _KIND, name_of(ref), "video-empty")
    if streams[0].codec_context is None:
        raise ImageError("its codec is not known here", ENCODE, name_of(ref), "video-codec")
    return streams[0]


def _header(source: BinaryIO, kind: str, ref: VideoRef, limits: VideoLimits) -> VideoHeader:
    with _container(source, kind, ref) as container:
        stream = _stream(container, ref)
        width, height = stream.width, stream.height
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        frames, seconds = stream.frames, _stated_seconds(container, stream) if kind in _TIMED else 0.0
        if not seconds or kind not in _TIMED:
            frames, seconds = _counted(container, stream, rate, limits)
    if not seconds and not frames:
        raise ImageError("it has no frames", _FETCH, name_of(ref), "video-empty")
    frames = frames or max(1, round(seconds * rate))
    if seconds > limits.max_seconds:
        raise _over(ref, f"{seconds / 60:,.0f} minutes, at most {limits.max_seconds / 60:,.0f} are read")
    if frames > limits.max_frames:
        raise _over(ref, f"{frames:,} frames, at most {limits.max_frames:,} are read")
    if width * height > limits.max_pixels:
        raise _over(ref, f"frames of {width} x {height} pixels, at most {limits.max_pixels:,} are read")
    return VideoHeader(width, height, seconds, rate, frames)


def _stated_seconds(container: "InputContainer", stream: "av.VideoStream") -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return max(0.0, (container.duration or 0) / 1e6)


def _counted(
    container: "InputContainer", stream: "av.VideoStream", rate: float, limits: VideoLimits
) -> tuple[int, float]:
    """(frames, seconds) from the times of all packets, which are not decoded; it ends where there are too many."""
    times: list[int] = []
    count = 0
    for packet in container.demux(stream):
        count += packet.size > 0
        times += [packet.pts] if packet.pts is not None else []
        if count > limits.max_frames:
            break
    if times and stream.time_base and max(times) > min(times):
        span = float((max(times) - min(times)) * stream.time_base)
        return count, span + span / max(1, len(times) - 1)
    return count, count / (rate or 25.0)


def _over(ref: VideoRef, found: str) -> ImageError:
    return ImageError(found, _CUT, name_of(ref), "video-long")


class _Player:
    """Decodes forward from one wanted time to the next, and jumps where that is far."""

    def __init__(self, video: _Video, limits: VideoLimits) -> None:
        self._video, self._left = video, limits.max_frames
        self._start = float((video.stream.start_time or 0) * (video.stream.time_base or 0))
        self._shown: av.VideoFrame | None = None
        self._ahead: av.VideoFrame | None = None
        video.stream.thread_type = "AUTO"
        self._frames = video.container.decode(video.stream)

    def at(self, seconds: float) -> Image.Image:
        """The upright frame that is shown at a time."""
        now = self._time(self._shown) if self._shown is not None else 0.0
        if seconds - now > _JUMP and self._video.kind in _INDEXED:
            self._jump(seconds)
        self._play(seconds)
        if self._shown is None:  # the jump went too far, or the video begins later
            self._jump(0.0)
            self._play(seconds)
            self._shown = self._shown or self._ahead
        if self._shown is None:
            raise ImageError("it has no frames", _FETCH, name_of(self._video.ref), "video-empty")
        self._refuse_missing(self._shown, seconds)
        return self._upright(self._shown)

    def _play(self, seconds: float) -> None:
        while True:
            if self._ahead is None:
                self._ahead = next(self._frames, None)
                self._left -= 1
            if self._ahead is None or self._left < 0 or self._time(self._ahead) > seconds + _ROUNDING:
                return
            self._shown, self._ahead = self._ahead, None

    def _jump(self, seconds: float) -> None:
        stream = self._video.stream
        offset = round((seconds + self._start) / float(stream.time_base or 1))
        self._video.container.seek(offset, stream=stream)
        self._frames = self._video.container.decode(stream)
        self._shown = self._ahead = None

    def _time(self, frame: "av.VideoFrame") -> float:
        if frame.time is None:
            raise ImageError("a frame without a time", ENCODE, name_of(self._video.ref), "video-broken")
        return float(frame.time) - self._start

    def _refuse_missing(self, frame: "av.VideoFrame", seconds: float) -> None:
        """Raise ImageError where the video ended before the time, and for a frame that is known to be damaged."""
        name = name_of(self._video.ref)
        end = self._time(frame) + max(_LATE, float((frame.duration or 0) * (frame.time_base or 0)))
        if self._ahead is None and seconds > end:
            found = f"cut off: its last frame is at {self._time(frame):.1f} s of {self._video.header.seconds:.1f} s"
            raise ImageError(found, _FETCH, name, "video-broken")
        if frame.is_corrupt:
            raise ImageError(f"the frame at {self._time(frame):.1f} s is damaged", _FETCH, name, "video-broken")

    def _upright(self, frame: "av.VideoFrame") -> Image.Image:
        image: Image.Image = frame.to_image()
        turn = _TURNS.get(frame.rotation)
        return image if turn is None else image.transpose(turn)
