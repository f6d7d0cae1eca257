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
logging.getLogger("eyegraft").setLevel(sys.argv[3])
config = six_steps(Path(sys.argv[1]), Path(sys.argv[2]))
(unfinished(config) / "metrics.jsonl").write_text("")  # causes a warning when the run resumes
train(config, Path())
"""


@pytest.mark.parametrize(("level", "warned"), [("NOTSET", True), ("CRITICAL", False)])
def test_an_embedding_program_sees_nothing_on_standard_output(
    tiny_llama: Path, tmp_path: Path, level: str, warned: bool
) -> None:
    command = [sys.executable, "-c", TRAINS, str(tiny_llama), str(tmp_path), level]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.json").exists()
    assert done.stdout == ""
    assert ("older metrics are lost" in done.stderr) == warned


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
