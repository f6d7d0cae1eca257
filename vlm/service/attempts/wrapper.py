"""The process that runs one attempt: `python -m vlm.service.attempts.wrapper FOLDER`. It outlives the service.

It takes the job's lock before anything starts, runs the command of `start.json` with its output in `log.txt`, passes
signals on, sends SIGTERM when the file `stop` appears, and writes `exit.json`. The command inherits the lock: while it
is held, something of the job may be alive. A job whose lock is free and that has no exit.json ended without a word, and
may be started again.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.errors import EyegraftError, ServiceError
from vlm.service.attempts.exit_record import AGAIN, NAME, ExitRecord, write_exit
from vlm.service.attempts.job_lock import take_lock
from vlm.service.attempts.process_identity import write_identity
from vlm.service.attempts.stop_file import die_with_parent, exit_code, is_asked, stop_when_asked

START = "start.json"
LOG = "log.txt"
RETRY_S = 1.0  # between tries to write exit.json on a full disk


@dataclass(frozen=True, slots=True)
class StartFile:
    """What `start.json` says. `stops_itself`: the command looks for the file `stop`, as ranks on other machines do."""

    attempt: str
    command: list[str]
    environment: dict[str, str]
    cwd: str
    stops_itself: bool


def main(folder: Path) -> int:
    """Run the attempt of a folder; returns its exit code, or AGAIN when another one runs."""
    lock = take_lock(folder.parent)
    if lock is None:
        return AGAIN
    if (folder / NAME).exists():  # it was started twice, and the first one is done; or it came too late
        return 0
    early: list[int] = []
    _on_stop(early.append)
    write_identity(folder)
    with open(folder / LOG, "ab") as output:
        try:
            start = read_start(folder)
        except ServiceError as error:
            output.write(f"{EyegraftError.label}{error}\n".encode())
            return _finish(folder, folder.parent.name, AGAIN)
        if early or is_asked(folder):
            return _finish(folder, start.attempt, 128 + signal.SIGTERM)
        child = subprocess.Popen(
            start.command,
            env={**os.environ, **start.environment},
            cwd=start.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    _on_stop(child.send_signal)
    for number in early:
        child.send_signal(number)
    if not start.stops_itself:
        stop_when_asked(folder, child)
    return _finish(folder, start.attempt, exit_code(child.wait()))


def read_start(folder: Path) -> StartFile:
    """The start file of an attempt's folder. Raises ServiceError for a damaged one."""
    try:
        found: dict[str, Any] = json.loads((folder / START).read_text("utf-8"))
        return StartFile(
            str(found["attempt"]),
            [str(word) for word in found["command"]],
            {str(key): str(value) for key, value in found["environment"].items()},
            str(found["cwd"]),
            bool(found["stops_itself"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ServiceError(f"{folder / START}: cannot be read: {error}") from error


def _finish(folder: Path, attempt: str, code: int) -> int:
    """Write exit.json, again and again while a full disk refuses: the lock is held, and the job waits for it."""
    while True:
        try:
            write_exit(folder, ExitRecord(attempt, code, time.time()))
        except FileNotFoundError:  # someone has deleted the folder
            return code
        except OSError:
            time.sleep(RETRY_S)
        else:
            return code


def _on_stop(then: Callable[[int], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: then(number))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
