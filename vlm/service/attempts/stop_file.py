"""`stop` in an attempt's folder: its job is pausing or being cancelled. The processes that run it look there.

A file reaches an attempt that has not begun yet, one on another machine, and one whose engine does not answer; it may
be written twice. A signal would be lost, or a second one would not let the trainer save.
"""

import ctypes
import signal
import subprocess
import threading
import time
from pathlib import Path

NAME = "stop"
LOOK_S = 0.25
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ask_to_stop(folder: Path) -> None:
    """Write the file. Raises OSError where the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)  # where someone has deleted it, its processes still look there
    (folder / NAME).touch()


def is_asked(folder: Path) -> bool:
    """Whether the attempt is to stop."""
    return (folder / NAME).exists()


def stop_when_asked(folder: Path, child: "subprocess.Popen[bytes]") -> None:
    """Send the child SIGTERM once, as soon as the file is there; returns at once."""

    def watch() -> None:
        while not is_asked(folder):
            time.sleep(LOOK_S)
        child.send_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="stop", daemon=True).start()


def die_with_parent() -> None:
    """To be called in a child before it runs its program: it is killed when its parent is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_code(code: int) -> int:
    """The code of a child as shells count it."""
    return code if code >= 0 else 128 - code
