"""Training goes on whatever a tracker does: it fails, hangs, is absent, or the trainer itself is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm.errors import RunError
from llm.track.feed import Feed
from llm.track.progress import read_progress
from tests.trackers.run_folder import FIRST, make_run, metrics, write_metrics

LIMIT_S = 120.0  # for what takes a second on a machine that does nothing else

FAKE = '''
"""Stands for trackio, and writes what it gets into a file. It fails while there is a file `down`."""
import json, os, pathlib, sys, time
HERE = pathlib.Path(__file__).parent
class Run:
    def log(self, values, step):
        if (HERE / "hang").exists():
            time.sleep(1000)
        with open(HERE / "got.jsonl", "a") as file:
            file.write(json.dumps([step, values]) + "\\n")
    def finish(self):
        print("Run finished.")
def init(project, **keys):
    if (HERE / "down").exists():
        raise ConnectionError("no route to the tracker.")
    return Run()
'''


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package `trackio` that feeders import."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "trackio.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr("llm.track.feed.RETRY_S", 0.0)
    monkeypatch.setattr("llm.track.feed.MOST_RETRY_S", 0.0)
    monkeypatch.setattr("llm.track.feed.WAIT_S", LIMIT_S)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def steps(fake: Path) -> list[int]:
    """The steps whose loss it got."""
    file = fake / "got.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [step for step, values in rows if "train/loss" in values]


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_lines_reach_the_tracker_while_the_run_goes_on(run: Path, fake: Path) -> None:
    with Feed(run, ["trackio"]) as feed:
        for until in (1, 2):
            write_metrics(run, metrics(until, FIRST))
            feed.wake()
            wait_for(lambda: len(steps(fake)) == until)  # noqa: B023
    assert steps(fake) == [1, 2]


def test_a_tracker_that_fails_is_one_warning_and_gets_its_lines_later(
    run: Path, fake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (fake / "down").touch()
    with Feed(run, ["trackio"]) as feed:
        for until in (1, 2, 3):
            write_metrics(run, metrics(until, FIRST))
            feed.wake()
            wait_for(lambda: _has_ended(feed))
        (fake / "down").unlink()
        write_metrics(run, metrics(4, FIRST))
        feed.wake()
    assert steps(fake) == [1, 2, 3, 4]
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "trackio: failed: ConnectionError: no route to the tracker. The run does not need it; what is not sent is sent "
        f"later, or by the same command again. Its output is in {run / 'track' / 'trackio.log'}"
    ]


def _has_ended(feed: Feed) -> bool:
    process = feed._feeders[0]._process
    return process is None or process.poll() is not None


def test_what_a_run_could_not_send_is_sent_by_the_same_command(run: Path, fake: Path) -> None:
    (fake / "down").touch()
    write_metrics(run, metrics(3, FIRST))
    with Feed(run, ["trackio"]) as feed:
        feed.wake()
    assert steps(fake) == []
    (fake / "down").unlink()
    for _ in range(2):
        with Feed(run, ["trackio"]) as feed:
            feed.wake()
    assert steps(fake) == [1, 2, 3]


def test_a_tracker_that_hangs_holds_nothing_up(
    run: Path, fake: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (fake / "hang").touch()
    monkeypatch.setattr("llm.track.feed.WAIT_S", 0.5)
    write_metrics(run, metrics(3, FIRST))
    with Feed(run, ["trackio"]) as feed:
        feed.wake()
        wait_for(lambda: read_progress(run, "trackio") is not None)
        slowest = 0.0
        for _ in range(70_000):  # more than a pipe holds
            began = time.monotonic()
            feed.wake()
            slowest = max(slowest, time.monotonic() - began)
        ended = time.monotonic()
    assert slowest < 5 and time.monotonic() - ended < 30
    process = feed._feeders[0]._process
    assert process is not None and process.poll() is None
    process.kill()
    process.wait()
    assert "trackio: is still storing the last metrics" in caplog.text


def test_a_run_that_is_interrupted_at_once_does_not_wait(run: Path, fake: Path) -> None:
    (fake / "hang").touch()
    write_metrics(run, metrics(3, FIRST))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Feed(run, ["trackio"]) as feed:
        feed.wake()
        raise KeyboardInterrupt
    assert time.monotonic() - began < LIMIT_S / 2
    process = feed._feeders[0]._process
    assert process is not None
    process.kill()
    process.wait()


def test_the_rest_arrives_after_the_trainer_was_killed(run: Path, fake: Path) -> None:
    write_metrics(run, metrics(5, FIRST))
    trainer = (
        "import os, signal, sys; from pathlib import Path; from llm.track.feed import Feed\n"
        "with Feed(Path(sys.argv[1]), ['trackio']) as feed:\n"
        "    feed.wake(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", trainer, str(run)], check=False)
    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: len(steps(fake)) == 5)
    with Feed(run, ["trackio"]) as feed:  # waits for the other feeder's end
        feed.wake()
    assert steps(fake) == [1, 2, 3, 4, 5]


def test_a_feeder_that_cannot_be_started_is_a_warning(
    run: Path, fake: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_metrics(run, metrics(3, FIRST))
    with Feed(run, ["trackio"]) as feed:
        (run / "track" / "trackio.log").symlink_to(tmp_path / "elsewhere")
        feed.wake()
    assert "trackio: could not be started: " in caplog.text and not (tmp_path / "elsewhere").exists()


def test_a_folder_for_trackers_that_is_a_link_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "track").symlink_to(tmp_path)
    with pytest.raises(RunError, match="is a link"):
        Feed(run, ["trackio"])


def test_without_trackers_nothing_happens(run: Path) -> None:
    with Feed(run, ()) as feed:
        feed.wake()
    assert not (run / "track").exists()
