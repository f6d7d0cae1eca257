"""What a whole file is like before its rows are read: its byte order mark, and whether its name fits what it holds."""

import json
from collections.abc import Iterator
from pathlib import Path

from data_tools.check.findings import Finding
from llm.errors import Place
from llm.files.regular_files import open_data

_LINES = (".jsonl", ".ndjson")
_START = 1 << 16  # bytes that are looked at


def check_file(path: Path) -> Iterator[Finding]:
    """Findings about a JSON file as a whole; nothing for other kinds of file."""
    suffix = path.suffix.lower()
    if suffix not in (".json", *_LINES):
        return
    with open_data(path) as file:
        start = file.read(_START)
    if start.startswith(b"\xef\xbb\xbf"):
        advice = "It is read here; other programs refuse it: save the file as UTF-8 without a mark"
        yield Finding("json-bom", Place(str(path), 1), 0, "file", "begins with a byte order mark", advice)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if suffix in _LINES and text.startswith(b"["):
        found, advice = f"an array [...] in a file named {suffix}", "Name it .json, or write one record a line"
        yield Finding("json-suffix", Place(str(path), 1), 0, "file", found, advice)
    if suffix == ".json" and _is_lines(text):
        found, advice = "one record a line in a file named .json", "Name it .jsonl, or write an array [...]"
        yield Finding("json-suffix", Place(str(path), 1), 0, "file", found, advice)


def _is_lines(text: bytes) -> bool:
    """True when the first line is a whole object and another follows."""
    first, _, rest = text.partition(b"\n")
    if not first.startswith(b"{") or not rest.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True
