"""What is shown while the program is busy: on a pipe as lines, on terminals of several widths as one line."""

import gc
import os
import re
import sys
import time
from collections.abc import Iterator

import pytest

from llm import activity as module
from llm.activity import activity, importing, note, tracked
from llm.log import log_to_console
from llm.rich_console import clock, spinner_line
from tests.terminals import Shown, on_terminal


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lines come after hundredths of a second."""
    for name, seconds in (("QUIET_S", 0.05), ("AGAIN_S", 0.2), ("POLL_S", 0.01)):
        monkeypatch.setattr(module, name, seconds)
    yield


def test_on_a_pipe_what_lasts_is_logged_with_its_time(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_console():
        with activity("loading m"):
            time.sleep(0.12)
        with activity("over at once"):
            pass
    said = capsys.readouterr()
    assert said.out.splitlines() == ["loading m: 0:00:00 so far", "loading m: done in 0:00:00"]
    assert said.err == ""


def test_the_innermost_activity_is_reported_and_again_after_a_while(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_to_console(), activity("training"), activity("reading a.json") as doing:
        note(doing, "1,000 records")
        time.sleep(0.35)
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("reading a.json 1,000 records: 0:00:00 so far") == 2
    assert not [line for line in lines if line.startswith("training:") and "so far" in line]


def test_what_failed_is_not_said_to_be_done(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_console(), pytest.raises(ValueError), activity("loading m"):
        time.sleep(0.12)
        raise ValueError
    assert "done" not in capsys.readouterr().out


def test_tracked_items_are_counted(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_console():
        for _ in tracked([1, 2], "images"):
            time.sleep(0.12)
    assert "images 0 of 2: 0:00:00 so far" in capsys.readouterr().out


def test_no_garbage_is_collected_while_modules_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    with pytest.raises(ImportError), importing():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and frozen == [False]
    monkeypatch.setitem(sys.modules, "transformers", gc)
    with importing():
        assert gc.isenabled(), "only for the first import"
    assert len(frozen) == 1


def test_nothing_is_compiled_while_modules_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later imports and processes that are started have the compiler again; what the user has set stays."""
    monkeypatch.delenv("TORCHDYNAMO_DISABLE", raising=False)
    with pytest.raises(ImportError), importing():
        assert os.environ["TORCHDYNAMO_DISABLE"] == "1"
        raise ImportError
    assert "TORCHDYNAMO_DISABLE" not in os.environ
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "0")
    with importing():
        assert os.environ["TORCHDYNAMO_DISABLE"] == "0"
    assert os.environ["TORCHDYNAMO_DISABLE"] == "0"


PROGRAM = """
import sys, time
from llm.activity import activity, note
from llm.log import log_to_console, logger
from llm.printable import escape_output
escape_output()
with log_to_console(), activity("loading a model whose name is longer than a line of a small window"):
    time.sleep(0.3)
    with activity("reading 数据.json") as doing:
        note(doing, "1,000 records")
        time.sleep(0.3)
    logger.info("a line meanwhile")
    print("\\x1b[2Jhostile")
    time.sleep(0.2)
"""


@pytest.mark.parametrize("width", [40, 80, 200])
def test_on_a_terminal_one_line_shows_activity_and_time(width: int) -> None:
    shown = on_terminal(PROGRAM, width)
    assert shown.code == 0
    moving = [line for line in shown.lines if re.match(r"[|/\\-] ", line)]
    assert moving and all(line.endswith(("0:00:00", "0:00:01")) for line in moving)
    assert max(Shown.cells(line) for line in moving) < width
    assert any(line.startswith(("| loading a", "/ loading a")) for line in moving)
    assert any("reading 数据.json 1,000 r" in line for line in moving)
    assert "a line meanwhile" in shown.lines and "\\u001b[2Jhostile" in shown.lines
    assert shown.screen == ["a line meanwhile", "\\u001b[2Jhostile"], "the spinner is erased"


def test_output_into_a_file_is_not_sent_to_the_terminal_of_the_spinner() -> None:
    shown = on_terminal(PROGRAM, 80, stdout_to_file=True)
    assert "a line meanwhile" in shown.file and "hostile" in shown.file
    assert "a line meanwhile" not in shown.lines


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_spinner_fits_its_line(width: int) -> None:
    line = spinner_line(width, "|", "读取数据 " * 20, "1,000 records", "0:00:10")
    assert Shown.cells(line) <= width and line.endswith("  0:00:10")


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--:--"), (0, "0:00:00"), (59.6, "0:01:00"), (90061, "25:01:01")]
)
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text
