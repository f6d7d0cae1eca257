"""What a terminal would obey is written out; every other character stays as it is."""

import io
import json
import sys
import unicodedata
from importlib import import_module
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.printable import EscapedStream, escape_output, printable


def test_every_character() -> None:
    """All of Unicode, against the categories of the standard library."""
    kept = {one for one in map(chr, range(sys.maxunicode + 1)) if printable(one) == one}
    unsafe = {
        one for one in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")
    }
    turning = {one for one in map(chr, range(sys.maxunicode + 1)) if unicodedata.bidirectional(one) in BIDI}
    assert set(map(chr, range(sys.maxunicode + 1))) - kept == (unsafe | turning) - {"\n", "\t"}


BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@given(st.text())
def test_json_stays_the_same(text: str) -> None:
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text
    assert printable(printable(text)) == printable(text)


def test_a_carriage_return_before_a_line_break() -> None:
    assert printable("a\r\nb\rc\r") == "a\r\nb\\u000dc\\u000d"


def test_other_attributes_are_those_of_the_stream() -> None:
    below = io.StringIO()
    stream = EscapedStream(below)
    assert stream.write("a\x1b") == 2
    stream.writelines(["b\x9b", "c\n"])
    print("d\ud800", file=cast(io.StringIO, stream), flush=True)
    assert below.getvalue() == "a\\u001bb\\u009bc\nd\\ud800\n"
    assert not stream.isatty() and stream.encoding == below.encoding


def test_progress_bars_may_overwrite_themselves_only() -> None:
    below = io.StringIO()
    stream = cast(io.StringIO, EscapedStream(below, bars=True))
    for _ in import_module("tqdm").tqdm(range(3), desc="a\x1b", file=stream, mininterval=0):
        pass
    assert below.getvalue().count("\ra\\u001b: ") >= 4 and "\\u000d" not in below.getvalue()
    below.truncate(below.seek(0))
    for text in ("error: ", "\rfine", "\n", "\rfine\nfine", "\rfine", "more", "\rfine"):
        stream.write(text)
    assert below.getvalue() == "error: \\u000dfine\n\\u000dfine\nfine\\u000dfinemore\\u000dfine"
    EscapedStream(below).write("\rfine")
    assert below.getvalue().endswith("fine\\u000dfine"), "only where bars are"


def test_output_is_escaped_once(monkeypatch: pytest.MonkeyPatch) -> None:
    below = io.StringIO()
    monkeypatch.setattr(sys, "stdout", below)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    escape_output()
    once = sys.stdout
    escape_output()
    assert sys.stdout is once and isinstance(once, EscapedStream) and once.rich_proxied_file is below
