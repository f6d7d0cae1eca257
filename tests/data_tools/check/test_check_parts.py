"""The parts of a check: numbering and batching of records, which images are opened once, what is reported."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_tools.check import check as under_test
from data_tools.check.check import RowFindings, _batches, _numbered, check, check_rows
from data_tools.check.findings import Finding
from data_tools.check.report import CheckReport
from data_tools.check.row_checks import ParsedRow
from data_tools.check.rules import CheckRules, CheckState
from llm.config.schema import Source
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.rows.raw_row import RawRow
from tests.data_tools.damage import chat_record, image_bytes, image_record

Json = dict[str, object]
PLACE = Place("a")


def lines(path: Path, *rows: object) -> Source:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source(path=str(path))


def found(
    source: Source, rules: CheckRules, state: CheckState | None = None, held_out: bool = False
) -> list[tuple[int, str]]:
    """(record number, code) of every finding."""
    rows = check_rows(source, Path(source.path).parent, rules, state or CheckState(), held_out)
    return [(row.row, finding.code) for row in rows for finding in row.findings]


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two different images, a copy of the first, and a truncated one."""
    for name, size in (("a", (8, 6)), ("b", (9, 9)), ("cut", (64, 64))):
        (tmp_path / f"{name}.jpg").write_bytes(image_bytes("JPEG", size=size))
    (tmp_path / "copy.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-300])
    return tmp_path


# Records --------------------------------------------------------------------------------------------------------------


def test_text_between_records_is_not_a_record() -> None:
    broken = RecordError(PLACE, "JSON", "x", "y")
    rows = [
        RawRow(PLACE, 1, "1"),
        RawRow(PLACE, error=broken),
        RawRow(PLACE, text="{", error=broken),
        RawRow(PLACE, {"text": "x"}),
        RawRow(PLACE, error=broken),
    ]
    assert [number for number, _ in _numbered(rows)] == [1, 0, 2, 3, 0]
    assert [row for _, row in _numbered(rows)] == rows


def parsed_row(size: int) -> ParsedRow:
    """A record with an embedded image of `size` bytes; 0: without an image, below 0: without a conversation."""
    image = (ImageRef(data=bytes(size)),) if size > 0 else ()
    conversation = Conversation((Message("user", (*image, "Q")),), PLACE)
    return ParsedRow(1, RawRow(PLACE), "", (), conversation if size >= 0 else None)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([0], [1]),
        ([0, 0, 0], [3]),
        ([0] * 4, [3, 1]),
        ([0] * 6, [3, 3]),
        ([5, 5, 0], [3]),
        ([5, 6, 0], [2, 1]),
        ([11, 11, 0], [1, 1, 1]),
        ([-1, 5, 5, 6, 5, 1], [3, 2, 1]),
    ],
)
def test_a_batch_is_bounded_in_records_and_image_bytes(
    sizes: list[int], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds lowered to 3 records and 10 bytes of images, counted anew for each batch."""
    assert (under_test.ROWS, under_test.BYTES) == (256, 33_554_432)
    monkeypatch.setattr(under_test, "ROWS", 3)
    monkeypatch.setattr(under_test, "BYTES", 10)
    rows = [parsed_row(size) for size in sizes]
    batches = list(_batches(iter(rows)))
    assert [len(batch) for batch in batches] == expected and [row for batch in batches for row in batch] == rows


def test_an_error_makes_a_record_bad_and_a_warning_does_not() -> None:
    error, warning = (Finding(code, PLACE, 1, "f", "x", "y") for code in ("row-type", "id-duplicate"))
    assert [
        RowFindings(1, RawRow(PLACE), findings).bad for findings in ((), (warning,), (error,), (warning, error))
    ] == [
        False,
        False,
        True,
        True,
    ]


def test_progress_is_reported_after_each_record(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "ROWS", 2)
    source = lines(
        image_folder / "r.jsonl",
        image_record(1, "a.jpg"),
        chat_record(2, ("human", "Q"), ("gpt", "A")),
        image_record(3, "a.jpg"),
        4,
    )
    calls: list[tuple[int, int]] = []
    report = check(source, image_folder, CheckRules(), lambda rows, images: calls.append((rows, images)))
    assert calls == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert report == CheckReport(4, 1, {"row-type": 1}, report.findings, 1)


def test_a_source_without_records_has_one_finding(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    source, state = Source(path=str(tmp_path / "a.json")), CheckState()
    (row,) = check_rows(source, tmp_path, CheckRules(), state)
    assert (row.row, row.raw, row.changed, state.records) == (0, RawRow(Place(source.path)), False, 0)
    assert row.findings == (
        Finding(
            "no-rows",
            Place(source.path),
            0,
            "file",
            "no record to train on",
            "Correct the path or remove the source",
        ),
    )
    (tmp_path / "a.json").write_text("[3]")
    assert found(source, CheckRules()) == [(1, "row-type")], "a bad record is a record"


def test_findings_of_files_come_before_those_of_records(tmp_path: Path) -> None:
    row = json.dumps(chat_record(1, ("human", "Q"), ("gpt", "")))
    (tmp_path / "a.json").write_text(f"\ufeff[{row}]", encoding="utf-8")
    (tmp_path / "b.json").write_text(f"{row}\n{row}\n")
    codes = found(Source(path=str(tmp_path)), CheckRules())
    assert codes[:2] == [(0, "json-bom"), (0, "json-suffix")]
    assert [row for row, _ in codes[2:]] == [1, 2, 3]


def test_records_of_earlier_sources_are_counted_and_compared(tmp_path: Path) -> None:
    state = CheckState()
    first, second = chat_record(1, ("human", "Q"), ("gpt", "A")), chat_record(2, ("human", "R"), ("gpt", "B"))
    assert found(lines(tmp_path / "a.jsonl", first, 3), CheckRules(), state) == [(2, "row-type")] and state.records == 2
    again: list[Json] = [first | {"id": "x"}, second, second | {"id": "y"}]
    rows = list(check_rows(lines(tmp_path / "b.jsonl", *again), tmp_path, CheckRules(), state))
    repetitions = [(row.row, finding.code, finding.found) for row in rows for finding in row.findings]
    assert repetitions == [
        (1, "row-duplicate", "repeats a record of an earlier source"),
        (3, "row-duplicate", "repeats record 2"),
    ]
    assert state.records == 5
    held = lines(tmp_path / "c.jsonl", second | {"id": "z"}, chat_record(4, ("human", "S"), ("gpt", "C")))
    assert found(held, CheckRules(), state, held_out=True) == [(1, "row-leak")]
    assert found(lines(tmp_path / "d.jsonl", chat_record(4, ("human", "S"), ("gpt", "C"))), CheckRules(), state) == []


# Images ---------------------------------------------------------------------------------------------------------------


def test_images_are_decoded_or_only_their_headers_read_or_skipped(image_folder: Path) -> None:
    source = lines(image_folder / "r.jsonl", image_record(1, "cut.jpg"), image_record(2, "gone.jpg"))
    assert found(source, CheckRules()) == [(1, "image-broken"), (2, "image-missing")]
    assert found(source, CheckRules(images="header")) == [(2, "image-missing")]
    state = CheckState()
    assert found(source, CheckRules(images="off"), state) == [] and state.images == 0


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the images that are opened, in order."""
    seen: list[str] = []
    check_image = under_test.check_image

    def counted(ref: ImageRef, *more: Any) -> Any:
        seen.append(Path(ref.path).name)
        return check_image(ref, *more)

    monkeypatch.setattr(under_test, "check_image", counted)
    yield seen


def test_a_sound_image_is_opened_once_and_a_broken_one_is_reported_each_time(
    image_folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "ROWS", 2)
    names = ["a.jpg", "cut.jpg", "a.jpg", "cut.jpg", "b.jpg"]
    source = lines(image_folder / "r.jsonl", *(image_record(number, name) for number, name in enumerate(names)))
    state = CheckState()
    assert found(source, CheckRules(), state) == [(2, "image-broken"), (4, "image-broken")]
    assert opened == ["a.jpg", "cut.jpg", "cut.jpg", "b.jpg"] and state.images == 4
    other = lines(image_folder / "s.jsonl", image_record(7, "a.jpg"))
    assert found(other, CheckRules(), state) == [] and len(opened) == 4, "not opened again for the next source"
    assert found(other, CheckRules(), state, held_out=True) == [(1, "row-leak"), (1, "image-leak")]
    assert opened[4:] == ["a.jpg"], "opened for validation, to compare it with training"


def test_a_warning_about_an_image_is_reported_with_the_first_record(image_folder: Path) -> None:
    (image_folder / "cmyk.jpg").write_bytes(image_bytes("JPEG", "CMYK"))
    source = lines(image_folder / "r.jsonl", *(image_record(number, ["cmyk.jpg", "a.jpg"]) for number in range(2)))
    rows = [dict(row, conversations=[{"from": "human", "value": f"<image><image>{n}"}, {"from": "gpt", "value": "A"}])
            for n, row in enumerate(image_record(number, ["cmyk.jpg", "a.jpg"]) for number in range(2))]  # fmt: skip
    source = lines(image_folder / "r.jsonl", *rows)
    assert found(source, CheckRules()) == [(1, "image-mode")]


@pytest.mark.parametrize(("leaks", "codes"), [(True, [1, 2]), (False, [1])])
def test_validation_images_are_compared_with_training_under_any_name(
    image_folder: Path, leaks: bool, codes: list[int]
) -> None:
    state, rules = CheckState(), CheckRules(leaks=leaks)
    assert found(lines(image_folder / "r.jsonl", image_record(1, "a.jpg")), rules, state) == []
    held = lines(
        image_folder / "s.jsonl", image_record(2, "a.jpg"), image_record(3, "copy.jpg"), image_record(4, "b.jpg")
    )
    assert found(held, rules, state, held_out=True) == [(number, "image-leak") for number in codes]
    again = lines(image_folder / "t.jsonl", image_record(5, "b.jpg"))
    assert found(again, rules, state, held_out=True) == [], "images of validation are not images of training"


# Downloads ------------------------------------------------------------------------------------------------------------


def test_records_with_urls_are_read_again_with_files(image_folder: Path) -> None:
    requests: list[tuple[int, str]] = []

    def fetch(raw: RawRow, root: str) -> RawRow:
        row: Any = raw.value
        requests.append((raw.place.line, root))
        if row["image"].endswith("gone"):
            raise RecordError(raw.place, "image", "404", "x", "image-fetch")
        return replace(raw, value=row | {"image": row["image"].rpartition("/")[2]})

    names = ["http://x/a.jpg", "a.jpg", "http://x/gone", "http://x/cut.jpg", "http://x/missing.jpg"]
    source = lines(image_folder / "r.jsonl", *(image_record(number, name) for number, name in enumerate(names)))
    rows = list(check_rows(source, image_folder, CheckRules(fetch=fetch), CheckState()))
    assert [(row.row, [finding.code for finding in row.findings], row.changed) for row in rows] == [
        (1, ["image-fetched"], True),
        (2, [], False),
        (3, ["image-fetch"], False),
        (4, ["image-broken", "image-fetched"], True),
        (5, ["image-missing", "image-fetched"], True),
    ]
    assert sorted(requests) == [(number, str(image_folder)) for number in (1, 3, 4, 5)]
    finding = rows[0].findings[0]
    assert (finding.field, finding.found) == ("image", "downloaded; the record still names the URL")
    assert found(source, CheckRules()) == [(number, "image-url") for number in (1, 3, 4, 5)]
