"""`stop` in an attempt's folder: its job is pausing or being cancelled. The processes that run it look there.

A file reaches an attempt that has not begun yet, one on another machine, and one whose engine does not answer; it may
be asked for twice. A signal would be lost, or a second one would not let the trainer save. `kill` is there when it
has not stopped for so long that its processes are killed.
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

NAME, KILL = "stop", "kill"
LOOK_S = 0.25
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ask_to_stop(folder: Path) -> float:
    """Write the file, once; returns the seconds since then. Raises OSError where the disk refuses."""
    mark = folder / NAME
    if not mark.exists():
        folder.mkdir(parents=True, exist_ok=True)  # where someone has deleted it, its processes still look there
        mark.touch()
    return abs(time.time() - mark.stat().st_mtime)  # the clock may have been set back


def is_asked(folder: Path) -> bool:
    """Whether the attempt is to stop."""
    return (folder / NAME).exists()


def ask_to_end(folder: Path) -> None:
    """Let the processes of an attempt be killed, which has not stopped when it was asked to."""
    (folder / KILL).touch()


def is_ended(folder: Path) -> bool:
    """Whether the processes of the attempt were to be killed."""
    return (folder / KILL).exists()


def stop_when_asked(folder: Path, child: "subprocess.Popen[bytes]") -> None:
    """Send the child SIGTERM once, as soon as the file is there, and kill it when that is asked; returns at once."""

    def watch() -> None:
        while not is_asked(folder):
            time.sleep(LOOK_S)
        child.send_signal(signal.SIGTERM)
        while not is_ended(folder):
            time.sleep(LOOK_S)
        _kill(child)

    threading.Thread(target=watch, name="stop", daemon=True).start()


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill the child with its process group, where it has one of its own."""
    with suppress(ProcessLookupError):
        if child.poll() is None and os.getpgid(child.pid) == child.pid:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


def die_with_parent() -> None:
    """To be called in a child before it runs its program: it is killed when its parent is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_code(code: int) -> int:
    """The code of a child as shells count it."""
    return code if code >= 0 else 128 - code
