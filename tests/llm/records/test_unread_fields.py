"""What no reader takes of a record is reported, whatever the reader: media as an error, text as a warning."""

import copy
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.check.check import check
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from llm.errors import Place, RecordError
from llm.formats.readers import READERS, interpret, read
from llm.records.record import Record
from llm.records.unread_fields import is_blank, unread_fields
from tests.llm.formats.test_readers import FORMATS
from tests.llm.rows import TURNS, Json, refusal, source

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MEDIA: list[tuple[str, object]] = [
    ("image", "sky.png"),
    ("images", ["a.png", "b.png"]),
    ("image", "sky"),
    ("img", "a"),
    ("picture", {"path": "a.jpg"}),
    ("videos", ["crane.mp4"]),
    ("video", {"url": "https://x.org/v"}),
    ("audio", "a"),
    ("audios", ["a.wav"]),
    ("x", "data:image/png;base64,AAAA"),
    ("x", b"\x89PNG"),
    ("x", PNG),
    ("shot", "photos/a b.JPEG"),
    ("图片", "猫"),
    ("x", [{"type": "image_url", "image_url": {"url": "a"}}]),
    ("x", {"deep": [{"file": "C:\\img\\a.TIF"}]}),
    ("image", 7),
    ("imageData", PNG),
    ("input_audio", {"data": "AAAA"}),
    ("x", {"bytes": b"x", "path": None}),
]
TEXTS: list[tuple[str, object]] = [
    ("system_message", "Be brief."),
    ("thinking", "hm"),
    ("reasoning_details", [{"text": "because"}]),
    ("hint", "x y"),
    ("context", "sky"),
    ("x", "two words"),
    ("x", "请简短回答"),
    ("x", ["a sentence of words"]),
    ("tool_choice", "a b"),
    ("documents", [{"title": "T", "body": "B"}]),
    ("loss_scale", 0.5),
    ("x", {"y": {"z": "some words"}}),
    ("note", "Pears."),
]
LABELS: list[tuple[str, object]] = [
    ("source", "The Pile"),
    ("score", 3.5),
    ("lang", "en"),
    ("category", "closed qa"),
    ("x", "easy"),
    ("x", "2024-01-02"),
    ("meta", {"title": "Two words"}),
    ("image_id", "000123"),
    ("num_images", 1),
    ("x", True),
    ("tags", ["a b", "c d"]),
    ("x", "a3f/9-c"),
    ("url", "https://x.org/page?a=1"),
    ("question_type", "yes no"),
    ("has_image", False),
    ("bbox", [1, 2]),
]
NOTHING: list[object] = [None, "", " ", [], {}, [None], {"bytes": None, "path": ""}, b"", "[]", [[], {}]]
COLUMNS = {"columns": {"input": "q", "output": "a"}}
ROWS: dict[str, Json] = {name: row for name, (row, _, _) in FORMATS.items()} | {
    "columns": {"q": "Q", "a": "A"},
    "wizardlm": {"conversations": TURNS},  # the other row has an answer that its reader leaves out
    "imagefolder": {"file_name": "first.png", "text": "A"},
}


def record(name: str, row: Json) -> Record:
    return Record(Place("a.json", 1), row, name, "/pictures", COLUMNS.get(name, {}))


def objects(row: object) -> list[Json]:
    """The record and every object inside its lists, as a reader might open them."""
    if isinstance(row, list):
        return [found for item in row for found in objects(item)]
    if not isinstance(row, dict):
        return []
    return [row, *(found for item in row.values() for found in objects(item))]


def test_every_reader_has_a_row_here() -> None:
    assert ROWS.keys() == READERS.keys()


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_field_more_is_read_or_reported(name: str, data: st.DataObject) -> None:
    row = copy.deepcopy(ROWS[name])
    places = objects(row)
    inside = places[data.draw(st.integers(0, len(places) - 1))]
    is_media = data.draw(st.booleans())
    key, value = data.draw(st.sampled_from(MEDIA if is_media else TEXTS))
    if key in inside:
        return
    inside[key] = copy.deepcopy(value)
    try:
        reading = interpret(record(name, row))
    except RecordError as error:
        assert error.found and error.advice
        return
    learnt = READERS[name].read(record(name, copy.deepcopy(ROWS[name])))
    if reading.conversation is not None and reading.conversation.messages != learnt:
        return  # the field is read
    assert not is_media, "media that are not learnt are an error"
    assert [field for field in reading.unread if field.kind == "text" and key in field.path], (key, value)


@pytest.mark.parametrize("name", ROWS)
def test_labels_and_empty_fields_are_no_finding(name: str) -> None:
    for key, value in [*LABELS, *(("images", nothing) for nothing in NOTHING), *(("thinking", n) for n in NOTHING)]:
        row = copy.deepcopy(ROWS[name]) | {key: value}
        if key not in ROWS[name]:
            assert [
                field for field in interpret(record(name, row)).unread if field.path == key and field.kind != "label"
            ] == []


@pytest.mark.parametrize(("key", "value"), MEDIA)
def test_media_are_an_error_with_the_place(key: str, value: object) -> None:
    with pytest.raises(RecordError) as caught:
        interpret(record("text", {"text": "A"} | {key: value}))
    assert (caught.value.field, caught.value.code) == (key, "field-media")
    assert caught.value.found.startswith("holds ") and "remove the field" in caught.value.advice


def test_what_repeats_an_image_of_the_record_is_no_finding() -> None:
    turns = [{"from": "human", "value": "<image>\nQ"}, TURNS[1]]
    row: Json = {"id": "a.png", "image": "x/a.png", "conversations": turns, "coco_url": "http://y.org/z.jpg"}
    quiet = row | {"image_name": "a.jpg", "meta": {"image_path": "old/a.png"}, "link": "b.png"}
    assert [field.kind for field in interpret(record("llava", quiet)).unread] == ["label"] * 4
    for key in ("image_name", "mask", "second_image"):
        with pytest.raises(RecordError, match="holds an image"):
            interpret(record("llava", row | {key: "b.png"}))
    stored = row | {"image": {"bytes": b"x", "path": None}, "image_name": "b.png"}
    assert all(field.kind == "label" for field in interpret(record("llava", stored)).unread)


def test_values_that_ask_for_nothing() -> None:
    assert all(map(is_blank, NOTHING))
    assert not any(map(is_blank, [0, False, 0.0, "x", [0], {"a": [False]}, b"x", "none"]))


def test_nested_fields_have_paths_and_names(tmp_path: Path) -> None:
    row: Json = {
        "messages": [{"role": "user", "content": "Q", "mood": "very sad"}, {"role": "assistant", "content": "A"}]
    }
    given_ = record("openai", row)
    READERS["openai"].read(given_)
    (field,) = unread_fields(given_)
    assert (field.path, field.name, field.kind) == ("messages[0].mood", "messages[].mood", "text")


def test_training_warns_once_a_field_and_stops_at_media(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row: Json = {"instruction": "I", "output": "A", "hint": "Look left", "score": 3}
    with caplog.at_level(logging.WARNING):
        assert len(list(read(source(tmp_path, row, row, {"instruction": "I", "output": "B"}), tmp_path))) == 3
    (line,) = caplog.messages
    assert "field hint of 2 rows is not read and not trained on, first" in line and "rows.jsonl:1" in line
    assert "rows.jsonl:1: audios: holds audio, which format alpaca does not read" in refusal(
        tmp_path, row | {"audios": ["a.mp3"]}
    )


def test_bad_examples_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good: Json = {"prompt": "Q", "completion": "A", "label": True}
    bad: list[Json] = [good | {"label": value} for value in (False, "False", 0)]
    chat: Json = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
    found = list(read(source(tmp_path, good, *bad), tmp_path))
    assert len(found) == 1 and "left out 3 rows with label: false, whose answer is a bad example" in caplog.text
    assert len(list(read(source(tmp_path, chat, chat | {"kto_tag": False}, chat | {"label": 0}), tmp_path))) == 2
    assert len(list(read(source(tmp_path, {"text": "A", "label": False}), tmp_path))) == 1, "the class of a text"


def test_the_check_reports_what_training_does(tmp_path: Path) -> None:
    rows: list[Json] = [
        {"instruction": "I", "output": "A", "hint": "Look left"},
        {"instruction": "I", "output": "B", "audio": "a.mp3"},
        {"instruction": "I", "output": "C", "label": False},
        {"instruction": "I", "output": "D", "score": 3},
    ]
    given_ = source(tmp_path, *rows)
    report = check(Source(path=str(tmp_path / given_.path)), tmp_path, CheckRules())
    assert report.counts == {"field-unread": 1, "field-media": 1, "bad-answer": 1}
    bad = source(tmp_path, rows[2])
    only = check(Source(path=str(tmp_path / bad.path)), tmp_path, CheckRules())
    assert only.counts == {"no-rows": 1, "bad-answer": 1}, "a source of which nothing is left is an error"
    assert sorted((one.row, one.field) for one in report.findings) == [(1, "hint"), (2, "audio"), (3, "label")]
