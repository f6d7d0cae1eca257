"""What library code logs: shown by a command, silent in a program that embeds it."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from llm.log import ConsoleHandler, log_to_console, logger

ROOT = Path(__file__).resolve().parent.parent.parent
TRAINS = """
import logging, sys
from pathlib import Path
from tests.llm.text_runs import six_steps, train, unfinished
for level in ("NOTSET", "CRITICAL"):
    logging.getLogger("eyegraft").setLevel(level)
    folder = Path(sys.argv[2], level)
    folder.mkdir()
    config = six_steps(Path(sys.argv[1]), folder)
    (unfinished(config) / "metrics.jsonl").write_text("")  # causes a warning when the run resumes
    train(config, Path())
    print("==", file=sys.stderr)
"""


def test_an_embedding_program_sees_nothing_on_standard_output(tiny_llama: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAINS, str(tiny_llama), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "CRITICAL" / "run" / "report.json").exists()
    assert done.stdout == ""
    by_default, when_critical, _ = done.stderr.split("==\n")
    assert "older metrics are lost" in by_default
    assert "older metrics are lost" not in when_critical


def test_a_command_shows_messages_on_two_streams(capfd: pytest.CaptureFixture[str]) -> None:
    with log_to_console():
        logger.debug("not shown")
        logger.info("first: 100 %%, %d", 1)
        logger.warning("second")
    assert capfd.readouterr() == ("first: 100 %, 1\n", "second\n")


def test_the_logger_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "level", logging.ERROR)
    with log_to_console():
        with log_to_console():
            assert [type(handler) for handler in logger.handlers] == [ConsoleHandler]
        assert len(logger.handlers) == 1 and (logger.level, logger.propagate) == (logging.INFO, False)
    assert logger.handlers == [] and (logger.level, logger.propagate) == (logging.ERROR, True)
