"""`data check` of records with videos: sound ones have no finding, and each damage has its code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.check.check import check
from data_tools.check.findings import CODES
from data_tools.check.report import CheckReport, summary_lines
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from tests.videos import video_bytes
from tests.vlm.vision.test_videos import DAMAGED

Json = dict[str, object]


def row(video: object, question: str = "<video>\nWhat is it?") -> Json:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "A ramp of greys."}]
    return {"video": video, "conversations": turns}


def checked(folder: Path, *rows: Json, rules: CheckRules | None = None) -> CheckReport:
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return check(Source(path=str(folder / "rows.jsonl")), folder, rules or CheckRules())


def test_sound_videos_are_counted_once(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(video_bytes(frames=5 + len(name)))
    report = checked(tmp_path, row("a.mp4"), row("a.mp4", "<video>\nHow long?"), row("b.mp4"))
    assert report == CheckReport(3, 0, {}, (), videos=2)
    assert list(summary_lines(report)) == ["3 records, 0 images, 2 videos", "clean"]
    assert report.as_json()["videos"] == 2


@pytest.mark.parametrize("what", [what for what in DAMAGED if what != "nothing"])
def test_a_damaged_video_has_its_code(tmp_path: Path, what: str) -> None:
    make, code, found = DAMAGED[what]
    (tmp_path / "a.mp4").write_bytes(make())
    report = checked(tmp_path, row("a.mp4"))
    assert report.counts == {code: 1} and report.bad_rows == 1
    [finding] = report.findings
    assert finding.field == "video" and found in finding.found and f"{tmp_path}/a.mp4" in finding.found


def test_frames_are_decoded_unless_headers_suffice(tmp_path: Path) -> None:
    data = video_bytes(frames=60, codec="ffv1", kind="matroska")
    (tmp_path / "a.mkv").write_bytes(data[: len(data) // 2])
    assert checked(tmp_path, row("a.mkv")).counts == {"video-broken": 1}
    assert checked(tmp_path, row("a.mkv"), rules=CheckRules(images="header")).clean
    assert checked(tmp_path, row("gone.mkv"), rules=CheckRules(images="off")).clean


def linked(folder: Path) -> Json:
    (folder / "elsewhere.mp4").write_bytes(video_bytes())
    (folder / "rows").mkdir()
    (folder / "rows" / "a.mp4").symlink_to(folder / "elsewhere.mp4")
    return row("a.mp4")


OTHERS: dict[str, Callable[[Path], Json]] = {
    "video-missing": lambda folder: row("gone.mp4"),
    "video-count": lambda folder: row(["a.mp4"], "<video><video>Q"),
    "video-url": lambda folder: row("https://x.org/a.mp4"),
    "video-outside": lambda folder: row("../a.mp4"),
    "video-ref": lambda folder: row(3),
    "video-link": linked,
    "video-twice": lambda folder: row("a.mp4") | {"videos": ["a.mp4"]},
    "video-place": lambda folder: {
        "video": "a.mp4",
        "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "<video>"}],
    },
    "video-frames": lambda folder: {
        "messages": [
            {"role": "user", "content": [{"type": "video", "video": "a.mp4", "nframes": 4}]},
            {"role": "assistant", "content": "A"},
        ]
    },
}


@pytest.mark.parametrize("code", OTHERS)
def test_a_faulty_record_has_its_code(tmp_path: Path, code: str) -> None:
    made = OTHERS[code](tmp_path)
    folder = tmp_path / "rows"
    folder.mkdir(exist_ok=True)
    assert checked(folder, made).counts == {code: 1}


def test_every_code_of_videos_is_tested() -> None:
    tested = {code for _, code, _ in DAMAGED.values()} | OTHERS.keys() | {"video-broken", "video-long"}
    assert {code for code in CODES if code.startswith("video-")} - tested == {"video-in-run", "video-leak"}


def test_a_video_in_training_and_validation_is_a_leak(tmp_path: Path) -> None:
    from data_tools.check.check import check_rows
    from data_tools.check.rules import CheckState

    (tmp_path / "a.mp4").write_bytes(video_bytes())
    (tmp_path / "copy.mp4").write_bytes(video_bytes())
    state, rules = CheckState(), CheckRules(leaks=True)
    counts = []
    for name, held_out in (("a.mp4", False), ("copy.mp4", True)):
        (tmp_path / f"{held_out}.jsonl").write_text(json.dumps(row(name, f"<video>{held_out}?")) + "\n")
        rows = list(check_rows(Source(path=str(tmp_path / f"{held_out}.jsonl")), tmp_path, rules, state, held_out))
        counts.append([finding.code for one in rows for finding in one.findings])
    assert counts == [[], ["video-leak"]]
