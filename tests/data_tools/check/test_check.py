"""Every kind of damage gets its code, sound records get none, and a large file needs little time and memory."""

import json
import time
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from data_tools.check.check import check
from data_tools.check.findings import CODES, Finding
from data_tools.check.report import CheckReport
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from tests.data_tools.damage import DAMAGES, VARIANTS, bomb, chat_record, image_bytes, image_record, sound_record, write


def checked(path: Path, rules: CheckRules | None = None, **more: object) -> CheckReport:
    return check(Source.model_validate({"path": str(path)} | more), path.parent, rules or CheckRules())


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


# Codes that no single LLaVA record can get: those of files, other formats, recipes, downloads and links.
ELSEWHERE = {
    *("json-bom", "json-suffix", "csv-broken", "parquet-broken", "no-rows"),
    *("format-unknown", "text-form", "record", "turn-gap", "question-missing", "part-type", "tool-call", "loss-flag"),
    *(code for code in CODES if code.startswith("pair-")),  # test_pairs
    "label-missing",
    *("no-target", "unanswered", "token-reserved", "template", "too-long", "row-leak", "image-leak"),
    *("format-refused", "field-media", "field-unread", "bad-answer", "thoughts-twice", "objects"),  # tests/llm/records
    *("sheet-broken", "file-broken", "file-kind", "split-unread"),  # tests/llm/rows
    *(code for code in CODES if code.startswith("video-")),  # test_videos
    *("image-path", "repaired", "placeholder"),  # test_repair
    *("box-convention", "box-outside"),  # test_box_checks
    *("image-place", "image-in-text-run", "image-twice", "image-fetch", "image-fetched", "image-link"),
}


def test_every_code_of_a_llava_record_has_a_damage() -> None:
    assert CODES.keys() - {damage.code for damage in DAMAGES.values()} == ELSEWHERE


@pytest.mark.parametrize("number", range(VARIANTS))
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_gets_its_code(tmp_path: Path, kind: str, number: int) -> None:
    damage = DAMAGES[kind]
    report = checked(write(tmp_path, damage, number))
    assert set(report.counts) == {damage.code}, report.findings
    assert {finding.row for finding in report.findings} == {7} and report.rows == 7
    assert report.bad_rows == (CODES[damage.code].level == "error")
    finding = report.findings[0]
    assert finding.place.line == 7 and finding.found and finding.advice


def test_a_thousand_sound_records_have_no_finding(tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes(image_bytes())
    report = checked(lines(tmp_path / "rows.jsonl", *(sound_record(number) for number in range(1000))))
    assert report == CheckReport(1000, 1, {}, ())


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(bomb(20_000))
    began = time.perf_counter()
    report = checked(lines(tmp_path / "rows.jsonl", image_record(1, "x.png")))
    assert report.counts == {"image-huge": 1} and time.perf_counter() - began < 1


def test_after_a_broken_record_of_an_array_the_next_is_read(tmp_path: Path) -> None:
    rows = [json.dumps(chat_record(n, ("human", f"Q{n}"), ("gpt", "A" if n != 4 else "")), indent=1) for n in range(6)]
    rows[1] = rows[1].replace("]", ",]")
    rows[2] = rows[2].replace('"Q2"', '"Q2')
    path = tmp_path / "rows.json"
    path.write_text("[\n" + ",\n".join(rows) + "\n]")
    report = checked(path)
    assert report.rows == 6
    assert {finding.row: finding.code for finding in report.findings} == {
        2: "json-comma",
        3: "json-broken",
        5: "answer-empty",
    }
    path.write_text(
        "["
        + ", ".join(json.dumps(chat_record(n, ("human", f"Q{n}"), ("gpt", ""))) for n in range(3)).replace(
            'Q1"}', 'Q1",}'
        )
        + "]"
    )
    assert checked(path).counts == {"json-comma": 1, "answer-empty": 2}


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.json", "\ufeff[{}]", "json-bom"),
        ("a.json", "{}\n{}\n", "json-suffix"),
        ("a.jsonl", "[{}]", "json-suffix"),
        ("a.json", "[{},\n]", "json-comma"),
        ("a.json", "[{}", "json-cut"),
        ("a.json", "[{}]\n{}", "json-extra"),
        ("a.json", "[]", "no-rows"),
    ],
)
def test_findings_about_a_file(tmp_path: Path, name: str, text: str, code: str) -> None:
    first, second = (json.dumps(chat_record(n, ("human", f"Q{n}"), ("gpt", "A"))) for n in range(2))
    path = tmp_path / name
    path.write_text(text.replace("{}", first, 1).replace("{}", second), encoding="utf-8")
    report = checked(path)
    assert report.counts == {code: 1} and report.findings[0].row == 0


def test_utf16_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(sound_record(1)), encoding="utf-16")
    assert checked(tmp_path / "a.jsonl").counts == {"encoding": 1, "no-rows": 1}


def test_a_link_out_of_the_image_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "far.png").write_bytes(image_bytes())
    (tmp_path / "data/x.png").symlink_to(tmp_path / "far.png")
    assert checked(lines(tmp_path / "data/rows.jsonl", image_record(1, "x.png"))).counts == {"image-link": 1}


def test_parquet_with_images_and_a_folder(tmp_path: Path) -> None:
    good, bad = image_bytes(), image_bytes("JPEG", size=(64, 64))[:-300]
    rows = [
        {"image": {"bytes": data, "path": None}, "conversations": image_record(n, 0)["conversations"]}
        for n, data in enumerate((good, bad, good))
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    report = checked(tmp_path)
    assert report.counts == {"parquet-broken": 1, "image-broken": 1} and (report.rows, report.images) == (3, 2)


def test_a_bad_image_is_reported_with_every_record_and_an_unusual_one_once(tmp_path: Path) -> None:
    (tmp_path / "cmyk.jpg").write_bytes(image_bytes("JPEG", "CMYK"))
    rows = [image_record(n, name) for n, name in enumerate(["no.jpg", "cmyk.jpg"] * 3)]
    report = checked(lines(tmp_path / "rows.jsonl", *rows))
    assert report.counts == {"image-missing": 3, "image-mode": 1} and report.bad_rows == 3
    assert checked(tmp_path / "rows.jsonl", CheckRules(images="off")).counts == {}


def test_records_of_no_format(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"conversations": []}, {"conversations": "x"})
    assert checked(path).counts == {"turns-empty": 1, "field-type": 1}
    assert checked(lines(tmp_path / "b.jsonl", {"a": 1}, {"b": 2})).counts == {"format-unknown": 2}


def test_all_findings_are_counted_and_few_are_kept(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", *(chat_record(n, ("human", f"Q{n}"), ("gpt", "")) for n in range(300)))
    report = checked(path, CheckRules(keep=2))
    assert report.counts == {"answer-empty": 300} and len(report.findings) == 2
    assert report.findings[1] == Finding(
        "answer-empty",
        report.findings[1].place,
        2,
        "message 2 (assistant)",
        "is empty",
        "Write its text or remove the record",
    )


def test_memory_stays_flat_and_ten_thousand_records_take_seconds(tmp_path: Path) -> None:
    """2,500 and 10,000 records; docs/how-to/data/check.md states time and memory for 200,000."""
    peaks = []
    for count in (2_500, 10_000):
        with (tmp_path / "rows.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(chat_record(n, ("human", f"Q{n} " * 50), ("gpt", f"答{n}" * 50))) + "\n"
                for n in range(count)
            )
        tracemalloc.start()
        assert checked(tmp_path / "rows.jsonl").counts == {}
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4_000_000, peaks  # held in memory, records of 800 bytes would take 6 MB more
    began = time.process_time()
    assert checked(tmp_path / "rows.jsonl").rows == 10_000
    assert time.process_time() - began < 10
