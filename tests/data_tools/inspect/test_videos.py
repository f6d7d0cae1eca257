"""Records with videos in `data show`, `data stats`, `data split` and `data mix`: nothing of them is lost."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_tools.inspect.show import show
from data_tools.inspect.show_page import page
from data_tools.inspect.target import find_target
from llm.config.schema import Source
from llm.formats.conversation import VideoRef
from llm.formats.readers import read
from tests.videos import save_video
from vlm.app.cli_data import data_app


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Four records, each about one of two videos."""
    folder = tmp_path / "clips"
    folder.mkdir()
    save_video(folder / "a.mp4", frames=15)
    save_video(folder / "b.mp4")
    records = [
        {
            "video": name,
            "conversations": [
                {"from": "human", "value": f"<video>\nQuestion {number}?"},
                {"from": "gpt", "value": f"Answer {number}."},
            ],
        }
        for number, name in enumerate(("a.mp4", "b.mp4", "a.mp4", "b.mp4"))
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_the_frames_of_a_video_are_shown_in_their_order(rows: Path, tmp_path: Path) -> None:
    shown = show(find_target(str(rows)), 4, 0, tmp_path / "corpus")
    found = {image.path.rpartition("/")[2] for sample in shown.texts for image in sample.images}
    assert found == {f"a.mp4#t={time}" for time in ("0.500", "1.500", "2.500")} | {"b.mp4#t=0.500", "b.mp4#t=1.500"}
    html = page(shown)
    assert html.count("<img ") == 2 * 3 + 2 * 2
    assert html.count("<span>↵</span>") == 2 * 2 + 2 * 1, "no line break between the frames of a strip"


def test_statistics_count_videos(rows: Path) -> None:
    result = CliRunner().invoke(data_app, ["stats", str(rows)])
    assert result.exit_code == 0 and "videos" in result.output and "data.video of the recipe" in result.output


def test_a_split_keeps_the_records_of_a_video_together(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    result = CliRunner().invoke(data_app, ["split", str(rows), str(out), "--share", "0.5"])
    assert result.exit_code == 0, result.output
    parts = [
        {one["video"].rpartition("/")[2] for one in map(json.loads, file.read_text().splitlines())}
        for file in sorted(out.glob("*.jsonl"))
    ]
    assert sorted(map(sorted, parts)) == [["a.mp4"], ["b.mp4"]]


def test_mixed_records_name_the_same_videos(rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    talk = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    (other / "more.jsonl").write_text(json.dumps({"conversations": talk}) + "\n")
    out = tmp_path / "mixed.jsonl"
    result = CliRunner().invoke(data_app, ["mix", f"{rows}=1", f"{other / 'more.jsonl'}=1", str(out)])
    assert result.exit_code == 0, result.output
    videos = {video.path for one in read(Source(path=str(out)), Path()) for video in one.videos}
    assert videos == {str(rows.parent / "a.mp4"), str(rows.parent / "b.mp4")}
    assert all(isinstance(video, VideoRef) for one in read(Source(path=str(out)), Path()) for video in one.videos)
