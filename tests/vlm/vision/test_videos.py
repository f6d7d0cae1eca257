"""Frames of videos by time, what a header bounds, and the errors of files that are no videos or are damaged."""

import io
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from llm.config.schema import VideoConfig
from llm.errors import ConfigError, ImageError
from llm.formats.conversation import ImageRef, VideoRef
from tests.videos import SHADES, SIDE, save_video, shade, sound_bytes, video_bytes
from vlm.vision.images import check_header, read_image, upright_size
from vlm.vision.video_frames import VideoFrames, content_hash, frame_times, read_images
from vlm.vision.videos import VideoLimits, media_type, read_frames, read_header

KINDS = [("libx264", "mp4"), ("mpeg4", "avi"), ("ffv1", "matroska"), ("libvpx-vp9", "webm"), ("flv", "flv"),
         ("mpeg2video", "mpegts"), ("wmv2", "asf")]  # fmt: skip


@pytest.mark.parametrize(("codec", "kind"), KINDS)
def test_the_frame_shown_at_each_time_is_read(codec: str, kind: str) -> None:
    rate = 25 if codec == "mpeg2video" else 5  # MPEG-2 has no slower ones
    ref = VideoRef(data=video_bytes(codec=codec, kind=kind, rate=rate))
    header = read_header(ref)
    assert (header.width, header.height) == (SIDE, SIDE)
    assert header.seconds == pytest.approx(10 / rate, rel=0.02)
    middles = [(number + 0.5) / rate for number in range(10)]
    assert [shade(image) for image in read_frames(ref, middles)] == list(range(10))
    assert [shade(image) for image in read_frames(ref, [middles[3], middles[3], middles[8]])] == [3, 3, 8]


def test_a_far_frame_is_found_by_a_jump_as_by_playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_video(tmp_path / "long.mp4", frames=150, rate=5)
    wanted = [0.1, 12.5, 28.7]
    jumped = [np.asarray(image) for image in read_frames(VideoRef(str(path)), wanted)]
    monkeypatch.setattr("vlm.vision.videos._JUMP", 1e9)
    played = [np.asarray(image) for image in read_frames(VideoRef(str(path)), wanted)]
    assert all(np.array_equal(one, other) for one, other in zip(jumped, played, strict=True))
    assert [round(float(one.mean()) / 2) for one in jumped] == [round(n * SHADES % 256 / 2) for n in (0, 62, 143)]


def test_a_frame_is_an_image_by_its_path_and_time(tmp_path: Path) -> None:
    path = save_video(tmp_path / "a.mp4")
    frame = ImageRef.of_frame(str(path), 1.5)
    assert frame.path == f"{path}#t=1.500" and frame.frame == (str(path), 1.5) and frame.file == str(path)
    assert shade(read_image(frame)) == 7 and read_image(frame).mode == "RGB"
    assert check_header(frame) == upright_size(frame) == (SIDE, SIDE)
    image = tmp_path / "b.png"
    read_image(frame).save(image)
    mixed = [ImageRef(str(path) + "#t=0.300"), ImageRef(str(image)), frame, ImageRef(str(path) + "#t=0.900"), frame]
    assert [shade(one) for one in read_images(mixed)] == [1, 7, 7, 4, 7]


def test_frames_are_chosen_by_rate_and_number() -> None:
    assert frame_times(4.0, VideoConfig()) == (0.5, 1.5, 2.5, 3.5)
    assert frame_times(100.0, VideoConfig(max_frames=4)) == (12.5, 37.5, 62.5, 87.5)
    assert frame_times(3.0, VideoConfig(frames=2)) == (0.75, 2.25)
    assert frame_times(0.2, VideoConfig()) == (0.1,)
    with pytest.raises(ValueError, match="either frames, or fps and max_frames"):
        VideoConfig(frames=2, fps=0.5)


def test_a_videos_frames_are_named_or_embedded(tmp_path: Path) -> None:
    path = save_video(tmp_path / "a.mp4")
    rule = VideoFrames(VideoConfig(frames=2))
    assert rule(VideoRef(str(path))) == (ImageRef(f"{path}#t=0.500"), ImageRef(f"{path}#t=1.500"))
    embedded = rule(VideoRef(data=path.read_bytes()))
    named = [np.asarray(image) for image in read_images(rule(VideoRef(str(path))))]
    assert all(np.array_equal(np.asarray(read_image(one)), other) for one, other in zip(embedded, named, strict=True))
    assert VideoFrames(VideoConfig()).fingerprint() == "" != rule.fingerprint()


def test_the_content_of_a_frame_is_that_of_its_video_and_time(tmp_path: Path) -> None:
    path = save_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(path.read_bytes())
    frames = [
        ImageRef(f"{tmp_path}/{name}#t={time}") for name, time in (("a.mp4", 0.5), ("b.mp4", 0.5), ("a.mp4", 0.7))
    ]
    one, same, other = (content_hash(frame, 1 << 20) for frame in frames)
    assert one == same != other
    save_video(path, frames=9)
    assert content_hash(frames[0], 1 << 20) != one


def turned(data: bytes) -> bytes:
    """An MP4 with the matrix of a phone that was held upright: a quarter to the right."""
    unit, zero, minus = (number.to_bytes(4, "big") for number in (0x10000, 0, 0xFFFF0000))
    flat = unit + zero * 3 + unit + zero * 3 + (0x40000000).to_bytes(4, "big")
    at = data.index(flat, data.index(b"tkhd"))
    return data[:at] + zero + unit + zero + minus + zero * 4 + flat[-4:] + data[at + 36 :]


def test_a_phones_video_is_turned_upright() -> None:
    pytest.importorskip("av")
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=5)
        video.width, video.height, video.pix_fmt = 64, 32, "yuv420p"
        pixels = np.zeros((32, 64, 3), np.uint8)
        pixels[:, :16] = 255  # white on the left
        container.mux([*video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *video.encode()])
    plain, upright = (
        next(read_frames(VideoRef(data=data), [0.0])) for data in (stream.getvalue(), turned(stream.getvalue()))
    )
    assert plain.size == (64, 32) and upright.size == (32, 64)
    assert (
        np.asarray(upright)[:12].mean() > 200 and np.asarray(upright)[20:].mean() < 50
    )  # on the top after a right turn


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.mp4", b"x" * 100)
    return stream.getvalue()


def other_codec() -> bytes:
    data = video_bytes()
    at = data.index(b"avc1", data.index(b"stsd"))
    return data[:at] + b"zzzz" + data[at + 4 :]


def no_frames() -> bytes:
    """The header of a stream that ended before its first frame."""
    data = video_bytes(flags="empty_moov+frag_keyframe")
    return data[: data.index(b"moof") - 4]


DAMAGED = {
    "an archive": (archive, "video-kind", "a zip archive or office document, not a video"),
    "an image": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "video-kind", "not a video"),
    "a playlist": (lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "video-kind", "a text file that begins"),
    "a photo of a phone": (lambda: b"\0\0\0\x18ftypheic" + bytes(99), "video-kind", "not a video"),
    "nothing": (lambda: b"", "video-empty", "the video is empty"),
    "sound alone": (sound_bytes, "video-empty", "it has no pictures, only sound"),
    "no frames": (no_frames, "video-empty", "it has no frames"),
    "an unknown codec": (other_codec, "video-codec", "its codec is not known here"),
    "the beginning of a download": (lambda: video_bytes()[:300], "video-broken", "broken or cut off"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_has_its_error(what: str) -> None:
    make, code, found = DAMAGED[what]
    with pytest.raises(ImageError) as caught:
        read_header(VideoRef(data=make()))
    assert caught.value.code == code and found in caught.value.found and caught.value.advice


def test_a_video_that_ends_early_is_cut_off() -> None:
    data = video_bytes(frames=60, codec="ffv1", kind="matroska")
    cut = VideoRef(data=data[: len(data) * 2 // 3])
    assert read_header(cut).seconds == 12
    assert shade(next(read_frames(cut, [2.1]))) == 10
    with pytest.raises(ImageError, match=r"cut off: its last frame is at 7\.\d s of 12\.0 s") as caught:
        list(read_frames(cut, [11.0]))
    assert caught.value.code == "video-broken"


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        (VideoLimits(max_seconds=1.5), "0 minutes, at most 0 are read"),
        (VideoLimits(max_frames=9), "10 frames, at most 9 are read"),
        (VideoLimits(max_bytes=100), "bytes, at most 100 are read"),
        (VideoLimits(max_pixels=64 * 63), "frames of 64 x 64 pixels, at most 4,032 are read"),
    ],
)
def test_the_header_bounds_a_video(limits: VideoLimits, found: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_header(VideoRef(data=video_bytes()), limits)
    assert caught.value.code == "video-long" and found in caught.value.found


def test_a_video_of_hours_is_refused_without_decoding_it() -> None:
    with pytest.raises(ImageError, match="167 minutes, at most 60 are read") as caught:  # ten frames, 1,000 s each
        read_header(VideoRef(data=video_bytes(rate=Fraction(1, 1000))))
    assert caught.value.code == "video-long"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file") as caught:
        read_header(VideoRef(str(tmp_path / "a.mp4")))
    assert caught.value.code == "video-missing"


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = video_bytes()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'eyegraft\[video\]'"):
        read_header(VideoRef(data=data))


def test_the_media_type_is_that_of_the_content() -> None:
    assert media_type(video_bytes(), VideoRef()) == "video/mp4"
    assert media_type(video_bytes(codec="libvpx-vp9", kind="webm"), VideoRef()) == "video/webm"
