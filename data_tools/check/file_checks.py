"""Checks of a JSON file before its records are read: a byte order mark, and a suffix that does not fit the content."""

import json
from collections.abc import Iterator
from pathlib import Path

from data_tools.check.findings import Finding
from llm.errors import Place
from llm.rows.compressed import open_rows, suffix_of

_LINES = (".jsonl", ".ndjson")
_START = 1 << 16  # bytes at the start of a file that are checked


def check_file(path: Path) -> Iterator[Finding]:
    """Findings about a JSON or JSONL file; none for other kinds of file."""
    suffix = suffix_of(path)
    if suffix not in (".json", *_LINES):
        return
    try:
        with open_rows(path) as file:
            start = file.read(_START)
    except OSError:  # compressed data that ends early, which reading its rows reports
        return
    if start.startswith(b"\xef\xbb\xbf"):
        advice = "It is ignored here, but other programs refuse it: save the file as UTF-8 without it"
        yield Finding("json-bom", Place(str(path), 1), 0, "file", "starts with a byte order mark", advice)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if suffix in _LINES and text.startswith(b"["):
        found, advice = f"an array [...] in a file named {suffix}", "Name it .json, or write one record a line"
        yield Finding("json-suffix", Place(str(path), 1), 0, "file", found, advice)
    if suffix == ".json" and _is_lines(text):
        found, advice = "one record a line in a file named .json", "Name it .jsonl, or write an array [...]"
        yield Finding("json-suffix", Place(str(path), 1), 0, "file", found, advice)


def _is_lines(text: bytes) -> bool:
    """Whether the first line is a complete object and another object follows."""
    first, _, rest = text.partition(b"\n")
    if not first.startswith(b"{") or not rest.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True
