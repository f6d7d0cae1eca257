"""Who trains in a run folder, asked without being in anyone's way."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llm.errors import RunError
from llm.files.writer_lock import LOCK, take_lock, writer_of
from llm.train.run_folder import exclusive_writer

HOLD = """
import fcntl, sys
stream = open(sys.argv[1])
fcntl.flock(stream, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_writer_while_it_lives(tmp_path: Path) -> None:
    assert writer_of(tmp_path) == ""
    with exclusive_writer(tmp_path):
        assert writer_of(tmp_path).startswith(f"process {os.getpid()} on ")
    assert writer_of(tmp_path) == "", "what the file says is of the past"


def test_another_process_is_seen_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / LOCK
    file.write_text("process 7 on host, since 2026-01-31 12:00 UTC")
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert writer_of(tmp_path) == "process 7 on host, since 2026-01-31 12:00 UTC"
        with file.open("a+") as stream:
            assert not take_lock(stream)
        holder.kill()
    assert writer_of(tmp_path) == ""


def test_asking_refuses_nobody_who_starts(tmp_path: Path) -> None:
    """A watcher asks as fast as it can while a hundred runs begin and end."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            writer_of(tmp_path)

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(100):
            with exclusive_writer(tmp_path):
                pass
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()


def test_a_lock_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(RunError, match="cannot be read"):
        writer_of(tmp_path)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / LOCK)
    with pytest.raises(RunError, match="named pipe"):
        writer_of(tmp_path / "pipe")
