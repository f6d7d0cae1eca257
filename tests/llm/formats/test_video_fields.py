"""Rows with videos as other trainers write them: what each means, and what is refused by name."""

import base64
from pathlib import Path

import pytest

from llm.formats.conversation import ImageRef, Message, VideoRef
from tests.llm.rows import TURNS, Json, bot, messages, refusal, user

MP4 = b"\0\0\0\x18ftypisom" + bytes(40)
URL = "data:video/mp4;base64," + base64.b64encode(MP4).decode()


def video(name: str = "a.mp4") -> VideoRef:
    return VideoRef(f"/clips/{name}")


def said(*texts: str) -> list[Json]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def asked(content: object, **more: object) -> Json:
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "A"}]
    return {"messages": turns} | more


MEANINGS: dict[str, tuple[Json, tuple[Message, ...]]] = {
    "LLaVA": ({"video": "a.mp4", "conversations": said("<video>\nQ", "A")}, (user(video(), "Q"), bot("A"))),
    "LLaVA-Video, which writes <image>": (
        {"video": "a.mp4", "conversations": said("<image>\nQ", "A")},
        (user(video(), "Q"), bot("A")),
    ),
    "LLaVA without a place": ({"video": "a.mp4", "conversations": TURNS}, (user(video(), "Q"), bot("A"))),
    "an image and a video": (
        {"image": "a.png", "video": "a.mp4", "conversations": said("<video>\n<image>\nQ", "A")},
        (user(video(), ImageRef("/clips/a.png"), "Q"), bot("A")),
    ),
    "LLaMA-Factory": (
        {"conversations": said("<video>Q", "A", "<video>R", "B"), "videos": ["a.mp4", "b.mp4"]},
        (user(video(), "Q"), bot("A"), user(video("b.mp4"), "R"), bot("B")),
    ),
    "ms-swift": (asked("<video>Q", videos=["a.mp4"]), (user(video(), "Q"), bot("A"))),
    "in the middle of a text": (
        asked("See <video> here", videos=["a.mp4"]),
        (user("See ", video(), " here"), bot("A")),
    ),
    "TRL": (
        asked([{"type": "video"}, {"type": "text", "text": "Q"}], videos=["a.mp4"]),
        (user(video(), "Q"), bot("A")),
    ),
    "Qwen": (
        asked([{"type": "video", "video": "/clips/a.mp4"}, {"type": "text", "text": "Q"}]),
        (user(video(), "Q"), bot("A")),
    ),
    "OpenAI's way": (
        asked([{"type": "text", "text": "Q"}, {"type": "video_url", "video_url": {"url": URL}}]),
        (user("Q", VideoRef(data=MP4)), bot("A")),
    ),
    "image and video parts": (
        asked(
            [{"type": "image", "image": "a.png"}, {"type": "video", "video": "a.mp4"}, {"type": "text", "text": "Q"}]
        ),
        (user(ImageRef("/clips/a.png"), video(), "Q"), bot("A")),
    ),
    "a column of bytes": (
        {"video": {"bytes": base64.b64encode(MP4).decode(), "path": "a.mp4"}, "question": "Q", "answer": "A"},
        (user(VideoRef(data=MP4), "Q"), bot("A")),
    ),
    "a table": ({"video": "a.mp4", "instruction": "Q", "output": "A"}, (user(video(), "Q"), bot("A"))),
    "<video> as text": (asked("What does <video> do in HTML?"), (user("What does <video> do in HTML?"), bot("A"))),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_a_row_means(tmp_path: Path, name: str) -> None:
    row, meaning = MEANINGS[name]
    assert messages(tmp_path, row, images="/clips") == [meaning]


def test_a_recipe_maps_a_column_to_the_video(tmp_path: Path) -> None:
    row = {"clip": "a.mp4", "q": "Q", "a": "A"}
    columns = {"video": "clip", "input": "q", "output": "a"}
    assert messages(tmp_path, row, images="/clips", columns=columns) == [(user(video(), "Q"), bot("A"))]


REFUSED: dict[str, tuple[Json, str]] = {
    "more places than videos": (
        asked("<video><video>Q", videos=["a.mp4"]),
        "videos: 2 <video> but 1 videos given. Write one <video> for each video, or none",
    ),
    "a part without its video": (
        asked([{"type": "video"}, {"type": "text", "text": "Q"}]),
        "videos: 1 <video> but 0 videos given",
    ),
    "a place without a video": (
        {"conversations": said("<video>\nQ", "A")},
        "videos: <video> but no video given. Name the video in `video`",
    ),
    "two fields": (
        {"video": "a.mp4", "videos": ["b.mp4"], "conversations": said("<video>Q", "A")},
        "video and videos: both name videos",
    ),
    "a URL": (
        asked("<video>Q", videos=["https://x.org/a.mp4"]),
        "videos[0]: 'https://x.org/a.mp4' is a URL, and videos are not downloaded. Save the video",
    ),
    "outside": (asked("<video>Q", videos=["../../etc/a.mp4"]), "is outside the image folder"),
    "frames as a list": (
        asked([{"type": "video", "video": ["1.jpg", "2.jpg"]}, {"type": "text", "text": "Q"}]),
        "messages[0].content[0].video: a list, such as the frames of a video. Write them as images",
    ),
    "frames chosen for one video": (
        asked([{"type": "video", "video": "a.mp4", "fps": 2.0}, {"type": "text", "text": "Q"}]),
        "messages[0].content[0].fps: frames chosen for a single video. Remove it",
    ),
    "a text beside it": ({"text": "T", "video": "a.mp4"}, "video: holds a video, which format text does not read"),
    "a number": (asked("<video>Q", videos=[3]), "videos[0]: is a number, not the path of a video"),
    "an empty object": (asked("<video>Q", videos=[{"fps": 1}]), "an object of fps that names no video"),
    "a caption alone": ({"video": "a.mp4", "caption": "A crane."}, "a video without a question"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_row_is_refused(tmp_path: Path, name: str) -> None:
    row, why = REFUSED[name]
    assert why in refusal(tmp_path, row, images="/clips")


def test_a_video_in_an_answer_is_refused(tmp_path: Path) -> None:
    row = {"video": "a.mp4", "conversations": said("Q", "<video>")}
    assert "<video> in an answer. Only questions may have videos" in refusal(tmp_path, row, images="/clips")


def test_the_text_format_leaves_videos_to_the_report_of_unread_media(tmp_path: Path) -> None:
    row = {"video": "a.mp4", "conversations": TURNS}
    assert "video: holds a video, which format sharegpt does not read" in refusal(tmp_path, row, format="sharegpt")
