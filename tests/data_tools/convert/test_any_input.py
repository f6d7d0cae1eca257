"""Whatever a file holds, each reader returns a sound record or raises an error with a code: over 2,000 cases."""

import copy
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.check.check import check as check_source
from data_tools.check.findings import CODES
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, Message, check_conversation
from llm.formats.readers import READERS
from llm.formats.turns.message_turns import ROLES
from llm.records.record import Record
from llm.rows.files import SUFFIXES, raw_rows
from tests.llm.formats.test_readers import FORMATS

BYTES, JSON, PARQUET = 600, 80, 100  # cases; JSON: for each of 23 readers, so that they are over 2,000
KEYS = (
    *("conversations", "messages", "conversation", "chat", "chosen", "rejected", "prompt", "instruction", "input"),
    *("output", "text", "system", "question", "answer", "response", "context", "completion", "abstract", "title"),
    *("instruction_zh", "input_zh", "output_zh", "system_prompt", "reference", "description", "color", "tools"),
    *("image", "images", "id", "turn_1", "Human", "MOSS", "Commands", "Inner Thoughts", "Tool Responses"),
    *("from", "value", "role", "content", "loss", "weight", "tool_calls", "function_call", "function", "arguments"),
    *("name", "type", "image_url", "url", "path", "bytes", "output_with_loss", "meta_instruction"),
)
ODD = (
    *("../a", "https://x/y.png", "data:,", "\ud83d", "\0", "", " "),
    *("<nooutput>", "问", "{}", '{"a": NaN}', "[[[["),
)
MARKED = ("tool", "function", "text", "image", "image_url", "<image>", "### Human: a### Assistant: b", "a.png")
WORDS = st.sampled_from([*ROLES, *MARKED, *ODD])
LEAVES = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
LLAVA_TURN = st.fixed_dictionaries({"from": WORDS, "value": LEAVES})
OPENAI_TURN = st.fixed_dictionaries(
    {"role": WORDS, "content": VALUES}, optional={"loss": LEAVES, "weight": LEAVES, "tool_calls": VALUES}
)
TURNS = st.lists(LLAVA_TURN | OPENAI_TURN | VALUES, max_size=4)
ROWS = st.dictionaries(st.sampled_from(KEYS), TURNS | VALUES, max_size=6)
CHANGES = st.lists(st.tuples(st.integers(0, 40), VALUES | WORDS), max_size=2)  # of a sound row: where, and to what
COLUMNS = {"columns": {"input": "input", "output": "output", "image": "image", "system": "system"}}


def outcome(name: str, row: dict[str, object]) -> str:
    """The code of the error that a reader raises for a record, or `sound`."""
    record = Record(Place("a.json", 1), row, name, "/pictures", COLUMNS.get(name, {}))
    try:
        messages = READERS[name].read(record)
        if not messages:
            return "unanswered"
        check_conversation(Conversation(messages, record.place))
    except RecordError as error:
        assert error.found and error.advice
        return error.code
    assert all(isinstance(message, Message) for message in messages)
    return "sound"


def changed(name: str, changes: list[tuple[int, object]]) -> dict[str, object]:
    """A sound record of a format with some values replaced."""
    row: dict[str, object] = copy.deepcopy(FORMATS[name][0])
    for number, value in changes:
        places = list(_places(row))
        inside, key = places[number % len(places)]
        inside[key] = value
    return row


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=JSON)
@given(row=ROWS, changes=CHANGES, whole=st.booleans())
def test_any_json_is_a_record_or_a_coded_error(
    name: str, row: dict[str, object], changes: list[tuple[int, object]], whole: bool
) -> None:
    tried = changed(name, changes) if whole and name in FORMATS else row
    assert outcome(name, tried) in CODES.keys() | {"sound"}


TEXT_SUFFIXES = [".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet"]
MARKS = (b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\r\n", b" ", b"-", b"\0", b"NaN", b"null")
TEXTS = (b'{"text": "a"}', b'{"id": 1}', "问".encode(), b"PAR1", b"1" * 5000, b"\\ud83d")
BAD = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", b"\xf0\x9f")
PIECES = st.sampled_from([*MARKS, *TEXTS, *BAD])


@settings(max_examples=BYTES)
@given(st.binary(max_size=40) | st.lists(PIECES, max_size=12).map(b"".join), st.sampled_from(TEXT_SUFFIXES))
def test_any_bytes_are_rows_or_coded_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    assert suffix in SUFFIXES
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    for row in raw_rows(path):
        assert row.error is None or row.error.code in CODES
    report = check_source(Source(path=str(path)), path.parent, CheckRules(images="off"))
    assert report.counts.keys() <= CODES.keys()


@settings(max_examples=PARQUET)
@given(st.integers(0, 5000), st.integers(0, 255), st.integers(0, 5000))
def test_damaged_parquet(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: int) -> None:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"text": f"row {n} 问"} for n in range(50)]), file)
    content = bytearray(file.getvalue())
    content[at % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    path.write_bytes(content[: len(content) - (cut % len(content) if cut % 3 == 0 else 0)])
    assert all(row.error is None or row.error.code == "parquet-broken" for row in raw_rows(path))


def test_the_cases_reach_sound_records_and_many_codes() -> None:
    """The generated records include sound ones and errors of many kinds."""
    met: set[str] = set()

    @settings(max_examples=300)
    @given(CHANGES, st.sampled_from(sorted(FORMATS.keys() & READERS.keys())))
    def collect(changes: list[tuple[int, object]], name: str) -> None:
        met.add(outcome(name, changed(name, changes)))

    collect()
    assert "sound" in met and len(met) >= 8, met


@pytest.mark.parametrize("depth", [900, 990])
@pytest.mark.parametrize("name", READERS)
def test_deeply_nested_values(name: str, depth: int) -> None:
    deep: object = "x"
    for _ in range(depth):
        deep = {"bytes": deep}
    text = json.dumps({"a": 1})
    turns = [
        {"role": "user", "content": "Q"},
        {
            "role": "assistant",
            "content": "A",
            "tool_calls": [{"function": {"name": "f", "arguments": "[" * depth + "]" * depth}}],
        },
    ]
    rows: list[dict[str, object]] = [
        {"messages": turns, "tools": [deep], "chosen": turns, "rejected": text},
        {"image": deep, "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "A"}]},
    ]
    assert all(outcome(name, row) in CODES for row in rows)
