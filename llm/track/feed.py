"""The trainer's side of tracking: one feeder process for each tracker, woken at every line of metrics.

Nothing here waits for a tracker before the run ends, and then for WAIT_S seconds at most. A feeder that fails is named
in one warning and started again RETRY_S after it was started, then after twice that, and so on up to MOST_RETRY_S; it
then sends what was not sent.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from llm.activity import activity
from llm.errors import EyegraftError, RunError
from llm.files.owned_files import make_owned_folder, open_owned
from llm.log import logger
from llm.track.feeder import FINISHED, LAST_S, WAKE
from llm.track.progress import FOLDER, track_file

RETRY_S, MOST_RETRY_S = 60.0, 900.0
WAIT_S = 30.0
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
}
"""Reports of the packages about themselves to their makers are off, unless the user's environment says otherwise."""
_ERROR = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt)\b.*")
_TAIL = 1 << 16  # bytes of a log that are searched for the error


class Feed:
    """The feeders of a run. Without names of trackers it does nothing."""

    def __init__(self, run: Path, names: Sequence[str]) -> None:
        self._feeders = [FeederProcess(run, name) for name in names]
        if names:
            make_owned_folder(run / FOLDER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let them hand on the rest. It is waited for unless the trainer crashed or is to stop at once."""
        for feeder in self._feeders:
            feeder.end(finished=kind is None)
        if kind is None or issubclass(kind, EyegraftError):
            self._wait()

    def wake(self) -> None:
        """There are new lines of metrics."""
        for feeder in self._feeders:
            feeder.wake()

    def _wait(self) -> None:
        until = time.monotonic() + WAIT_S
        for feeder in self._feeders:
            with activity(f"handing the last metrics on to {feeder.name}"):
                feeder.wait(max(0.0, until - time.monotonic()))


class FeederProcess:
    """The process that feeds one tracker. It is started by the first `wake`."""

    def __init__(self, run: Path, name: str) -> None:
        self.name = name
        self._run = run
        self._log_file = track_file(run, name, ".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._warned, self._next_try, self._pause = False, 0.0, RETRY_S

    def wake(self) -> None:
        """Say that there are new lines. Returns at once, whatever the process does."""
        if self._process is None and time.monotonic() >= self._next_try:
            self._start()
        elif self._process is not None and self._process.poll() is not None:
            self._failed()
        self._write(WAKE)

    def end(self, finished: bool) -> None:
        """Close its pipe, after which it hands on the rest. One that failed before is started once more."""
        failed = self._process is not None and self._process.poll() is not None
        if failed or (self._process is None and self._warned):
            self._start()
        self._write(FINISHED if finished else WAKE)
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended; a warning says what is not sent."""
        if self._process is None:
            return
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._warn(f"{self.name}: is still storing the last metrics, for at most {LAST_S - WAIT_S:.0f} s more")
            return
        if code:
            self._failed()

    def _start(self) -> None:
        self._next_try = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, MOST_RETRY_S)
        try:
            with self._open_log() as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "llm.track.feeder", self.name, str(self._run)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=QUIET | os.environ,
                    start_new_session=True,  # Ctrl-C is the trainer's: it finishes its step first
                )
        except (OSError, RunError) as error:
            self._warn(f"{self.name}: could not be started: {error}")
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def _open_log(self) -> TextIO:
        log = open_owned(self._log_file, "a+")
        if not self._warned:
            log.truncate(0)
        return log

    def _write(self, byte: bytes) -> None:
        if self._process is None or self._process.stdin is None or self._process.stdin.closed:
            return
        with suppress(BlockingIOError, BrokenPipeError):  # it has enough to read already, or has ended
            os.write(self._process.stdin.fileno(), byte)

    def _failed(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None
        self._warn(f"{self.name}: failed: {self._last_error()}")

    def _warn(self, text: str) -> None:
        if not self._warned:
            logger.warning(
                f"{text}. The run does not need it; what is not sent is sent later, or by the same command again. "
                f"Its output is in {self._log_file}"
            )
        self._warned = True

    def _last_error(self) -> str:
        """The last line of its output that names an error, else its last line."""
        try:
            with open(self._log_file, "rb") as log:
                log.seek(max(0, log.seek(0, 2) - _TAIL))
                lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        errors = [line for line in lines if _ERROR.match(line)]
        return (errors or lines or ["without a word"])[-1][:300].rstrip(".")
