"""The parts of `data ask`: questions, options, journal, API key, rate limiter."""

import asyncio
import json
import resource
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.ask.api_key import MASK, SHOWN, ApiKey, read_api_key
from data_tools.ask.client import retry_after
from data_tools.ask.journal import Journal, JournalEntry, journal_path
from data_tools.ask.options import OPENAI, AskOptions, is_unencrypted, read_prompt
from data_tools.ask.plan import prepare
from data_tools.ask.questions import read_questions, without_repeats
from data_tools.ask.rate_limit import RateLimiter, RetryPolicy, SendingStopped
from llm.errors import ConfigError, DataError, EyegraftError, RecordError, RunError


def asked(path: Path, field: str = "") -> list[tuple[str, str]]:
    return [(question.id, question.text) for question in read_questions(path, field)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_questions_of_text_files(tmp_path: Path) -> None:
    path = write(tmp_path / "q.txt", "\ufeff 你是谁？ \n\n# What is a heading?\r\nWhy?\u2028Because.\n")
    assert asked(path) == [("", "你是谁？"), ("", "# What is a heading?"), ("", "Why?\u2028Because.")]


ROWS: list[object] = [
    "谁？",
    {"id": 7, "question": "Q", "instruction": "not this"},
    {"instruction": "I"},
    {"prompt": "P "},
    {"input": "N"},
    {"text": "T", "id": ""},
]


@pytest.mark.parametrize("name", ["q.json", "q.jsonl"])
def test_questions_of_records(tmp_path: Path, name: str) -> None:
    whole = json.dumps(ROWS) if name == "q.json" else "\n".join(map(json.dumps, ROWS))
    path = write(tmp_path / name, whole)
    assert asked(path) == [("", "谁？"), ("7", "Q"), ("", "I"), ("", "P"), ("", "N"), ("", "T")]


def test_a_field_named_by_option(tmp_path: Path) -> None:
    assert asked(write(tmp_path / "q.csv", "问,question\n一,x\n二,y\n"), "问") == [("", "一"), ("", "二")]


NO_QUESTIONS: dict[str, tuple[str, str, type[EyegraftError], str]] = {
    "empty": ("q.txt", " \n\n", DataError, "has no questions"),
    "an empty list": ("q.json", "[]", DataError, "has no questions"),
    "no field": ("q.jsonl", '{"question": "Q"}\n{"frage": "Q"}', RecordError, "q.jsonl:2: question.*frage.*--field"),
    "a number": ("q.json", "[3]", RecordError, "q.json:1: question: is a number, not text"),
    "null": ("q.json", '[{"question": null}]', RecordError, "question: is null"),
    "blank": ("q.json", '[\n"Q",\n" "]', RecordError, "q.json:3: question: is empty"),
    "half a character": ("q.json", '["\\ud83d"]', DataError, "half of a surrogate"),
    "broken": ("q.json", '["Q"', RecordError, "JSON"),
    "unknown": ("q.exe", "x", DataError, "not supported"),
}


@pytest.mark.parametrize("case", NO_QUESTIONS)
def test_files_without_questions(tmp_path: Path, case: str) -> None:
    name, text, kind, found = NO_QUESTIONS[case]
    with pytest.raises(kind, match=found):
        prepare(write(tmp_path / name, text), tmp_path / "o.json", AskOptions("m", "http://localhost:1/v1"))


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    for name in ("q.txt", "q.json"):
        with pytest.raises(DataError, match="Correct the path"):
            read_questions(tmp_path / name)
    (tmp_path / "q.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_questions(tmp_path / "q.txt")


def test_duplicates_are_left_out_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "q.txt", "b\na\nb \nB\na\n")
    assert [question.text for question in without_repeats(read_questions(path))] == ["b", "a", "B"]


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({"base_url": OPENAI}, "needs a key. Put it into OPENAI_API_KEY"),
    "no address": ({"base_url": "localhost:8000"}, "is not a URL"),
    "no port": ({"base_url": "http://a:b/v1"}, "is not a URL"),
    "a file": ({"base_url": "file:///etc/passwd"}, "is not a URL"),
    "a password": ({"base_url": "http://me:hush@a/v1"}, "contains a password"),
    "a query": ({"base_url": "http://a/v1?key=hush"}, "contains a password or a query"),
    "instruction": ({"instruction": "x"}, "--instruction: is for a folder"),
    "turns": ({"turns": 2}, "--turns: is for a folder"),
    "question": ({"question": "x"}, "--question: is for captions"),
    "keep": ({"keep_system": True}, "--keep-system: stores the text of --system"),
    "no such file": ({"system": "none.txt"}, "--system none.txt: No such file"),
    "no value": ({"set": ("temperature",)}, "NAME=VALUE"),
    "no name": ({"set": ("=1",)}, "NAME=VALUE"),
    "ours": ({"set": ("stream=true",)}, "--set stream: .*Leave it out"),
    "no number": ({"set": ("temperature=NaN",)}, "no NaN"),
    "too large": ({"set": ("x=[1e999]",)}, "no infinity"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_invalid_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    options, found = BAD_OPTIONS[case]
    source = write(tmp_path / "q.txt", "Q")
    with pytest.raises(ConfigError, match=found) as caught:
        prepare(
            source, tmp_path / "o.json", AskOptions(**{"model": "m", "base_url": "http://localhost:1/v1", **options})
        )
    assert "hush" not in str(caught.value)


def test_files_that_are_not_overwritten(tmp_path: Path) -> None:
    source, options = write(tmp_path / "q.json", '["Q"]'), AskOptions("m", "http://localhost:1/v1")
    other = write(tmp_path / "o.json", "precious")
    with pytest.raises(ConfigError, match="was not written by `data ask`"):
        prepare(source, other, options)
    with pytest.raises(ConfigError, match="one of these suffixes"):
        prepare(source, tmp_path / "o.parquet", options)
    write(journal_path(source), "")
    with pytest.raises(ConfigError, match="is the file of questions"):
        prepare(source, source, options)
    assert (source.read_text(), other.read_text()) == ('["Q"]', "precious")


def test_which_urls_are_unencrypted() -> None:
    for url in ("https://a.com", "http://localhost:1", "http://127.0.0.1", "http://[::1]"):
        assert not is_unencrypted(f"{url}/v1")
    assert is_unencrypted("http://192.168.0.2:8000/v1") and is_unencrypted("http://example.com/v1")


def test_only_an_incomplete_last_line_is_removed_from_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "a" / "o.json.journal"
    with Journal(path) as journal:
        assert journal.answers == {}
        journal.add(JournalEntry("k1", "Q", "答\n案", prompt_tokens=3))
        journal.add(JournalEntry("k2", "half \ud83d", failed="no"))
    text = path.read_bytes()
    assert text.decode().splitlines()[0] == '{"key": "k1", "question": "Q", "answer": "答\\n案", "prompt_tokens": 3}'
    for cut in range(1, len(text)):
        path.write_bytes(text[:cut])
        whole = text[:cut].count(b"\n")
        with Journal(path) as journal:
            assert journal.answers == ({"k1": "答\n案"} if whole else {})
            journal.add(JournalEntry("k3", "R", "A"))
        assert len([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]) == whole + 1


@pytest.mark.parametrize("line", ["[]", "{}", "3", "\x00\x00", '{"key": "k", "ans', '{"key": 1, "answer": []}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "o.journal", f'{{"key": "k", "answer": "A"}}\n{line}\n')
    with pytest.raises(RecordError, match=r"o\.journal:2: journal: damaged.*asked again"):
        Journal(path)
    with pytest.raises(RecordError):  # and not: in use by another
        Journal(path)


def test_a_journal_has_one_writer_and_needs_a_writable_place(tmp_path: Path) -> None:
    with Journal(tmp_path / "o.journal"), pytest.raises(RunError, match="in use by another `data ask`"):
        Journal(tmp_path / "o.journal")
    with pytest.raises(RunError, match="writable place"):
        Journal(write(tmp_path / "file", "x") / "o.journal")


def test_a_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "o.journal"
    with Journal(path) as journal:
        journal.add(JournalEntry("k1", "Q", "A"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, before[1]))
        try:
            with pytest.raises(RunError, match="the disk is full. Free disk space and run the same command"):
                journal.add(JournalEntry("k2", "Q", "A"))
            with pytest.raises(RunError, match="File too large"):
                journal.add(JournalEntry("k3", "Q", "A"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes().endswith(b'\n{"key')
    with Journal(path) as journal:
        assert journal.answers == {"k1": "A"}


KEY = "sk-proj-Zq7Wv3Lm9Xt2"


def test_parts_of_a_key_are_redacted() -> None:
    redact = ApiKey(KEY).redact
    assert redact(f"Bearer {KEY}, again {KEY}{KEY}.") == f"Bearer {MASK}, again {MASK}{MASK}."
    assert redact(f"starts {KEY[:12]}... ends ...{KEY[-9:]}") == f"starts {MASK}... ends ...{MASK}"
    assert redact("sk-proj is a prefix, Zq7Wv3L is short") == "sk-proj is a prefix, Zq7Wv3L is short"
    assert ApiKey("abc").redact("xabcabcx") == f"x{MASK}{MASK}x"
    assert ApiKey("").redact("text") == "text"
    assert KEY not in repr(ApiKey(KEY)) + str(ApiKey(KEY))


SLICES = st.integers(0, 39).map(lambda number: KEY[number % 10 : number])


@given(st.lists(st.one_of(st.text("skproj-Zq7", max_size=6), SLICES), max_size=8))
def test_no_redacted_text_contains_a_part_of_the_key(pieces: list[str]) -> None:
    redacted = ApiKey(KEY).redact("|".join(pieces))
    assert not any(KEY[n : n + SHOWN + 1] in redacted for n in range(len(KEY) - SHOWN))


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\r\n")
    assert read_api_key("MY_KEY").value == KEY
    assert read_api_key("NO_SUCH_KEY").value == ""
    for bad in ("two words-hush", "schlüssel-hush"):
        monkeypatch.setenv("MY_KEY", bad)
        with pytest.raises(ConfigError, match="MY_KEY holds") as caught:
            read_api_key("MY_KEY")
        assert "hush" not in str(caught.value)


def test_retry_after_headers() -> None:
    assert retry_after({}) == 0
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after": "9", "retry-after-ms": "250"}) == 0.25
    assert retry_after({"retry-after": "soon", "retry-after-ms": "x"}) == 0
    assert [retry_after({"retry-after": text}) for text in ("-3", "nan")] == [0, 0]
    at = datetime.now(UTC) + timedelta(seconds=90)
    assert 85 < retry_after({"retry-after": format_datetime(at, usegmt=True)}) <= 90
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_back_off_doubles_up_to_a_bound_and_varies() -> None:
    policy = RetryPolicy(first=1, longest=20)
    for failures, most in ((1, 1), (2, 2), (3, 4), (5, 16), (6, 20), (2000, 20)):
        waits = [policy.delay(failures) for _ in range(200)]
        assert most / 2 <= min(waits) < most * 0.6 and most * 0.9 < max(waits) <= most


def test_requests_are_spaced_paused_counted_and_stopped() -> None:
    async def go() -> list[float]:
        limiter, began = RateLimiter(per_minute=1200, limit=5), time.monotonic()
        times = []
        for number in range(5):
            if number == 3:
                limiter.pause(0.3)
            await limiter.acquire()
            times.append(time.monotonic() - began)
        with pytest.raises(SendingStopped):
            await limiter.acquire()
        assert limiter.spent and limiter.sent == 5
        waiting = asyncio.create_task(RateLimiter.sleep(limiter, 60))
        await asyncio.sleep(0)
        limiter.stop.set()
        with pytest.raises(SendingStopped):
            await waiting
        return times

    times = asyncio.run(go())
    assert times[1] >= 0.049 and times[2] >= 0.099 and times[2] < 0.25
    assert times[3] >= times[2] + 0.29


def test_a_request_that_was_stopped_is_not_counted() -> None:
    async def go() -> int:
        limiter = RateLimiter()
        limiter.pause(60)
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.01)
        limiter.stop.set()
        with pytest.raises(SendingStopped):
            await waiting
        return limiter.sent

    assert asyncio.run(go()) == 0


# Not regular files ---------------------------------------------------------------------------------------------------


def test_questions_prompts_and_journals_that_are_not_regular_files(tmp_path: Path) -> None:
    """Devices and links are refused, and nothing is written through a link."""
    (tmp_path / "device.txt").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="device.txt: is a device, not a regular file"):
        read_questions(tmp_path / "device.txt")
    with pytest.raises(ConfigError, match="device.txt: is a device, not a regular file"):
        read_prompt(tmp_path / "device.txt", "--system")
    thesis = write(tmp_path / "thesis.tex", "years")
    (tmp_path / "o.journal").symlink_to(thesis)
    with pytest.raises(RunError, match="o.journal: is a link, not a regular file"):
        Journal(tmp_path / "o.journal")
    assert thesis.read_text() == "years"
    with (tmp_path / "p.journal").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RunError, match="p.journal: has 1,099,511,627,776 bytes"):
        Journal(tmp_path / "p.journal")
