"""Programs run on a pseudo-terminal of a given width, and what they show there."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass

from rich.cells import cell_len

_CODES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


@dataclass(frozen=True, slots=True)
class Shown:
    """`lines`: every text between two line breaks or returns, without colours; `screen`: what is left at the end."""

    code: int
    raw: str
    file: str = ""

    @property
    def lines(self) -> list[str]:
        """Everything that was ever written, in order; empty ones left out."""
        texts = (_CODES.sub("", text) for text in re.split(r"[\r\n]+", self.raw))
        return [text.rstrip() for text in texts if text.strip()]

    @property
    def screen(self) -> list[str]:
        """The lines that are left: a small terminal that knows returns, line breaks, moves up and erased lines."""
        rows, at, column = [""], 0, 0
        for text, code in re.findall(r"([^\x1b]*)(\x1b\[[0-9;?]*[A-Za-z])?", self.raw):
            for part in re.split(r"(\r|\n)", text):
                if part == "\r":
                    column = 0
                elif part == "\n":
                    at += 1
                    rows += [""] * (at + 1 - len(rows))
                elif part:
                    rows[at] = rows[at][:column].ljust(column) + part + rows[at][column + len(part) :]
                    column += len(part)
            if code.endswith("A"):
                at = max(0, at - int(code[2:-1] or 1))
            elif code.endswith("K"):
                rows[at] = ""
        return [row.rstrip() for row in rows if row.strip()]

    @staticmethod
    def cells(line: str) -> int:
        """Columns of a line; Chinese characters take two."""
        return cell_len(line)


def on_terminal(
    program: str, width: int, typed: tuple[tuple[float, bytes], ...] = (), stdout_to_file: bool = False
) -> Shown:
    """Run a Python program on a terminal of `width` columns; `typed` is written to it after so many seconds."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=theirs,
            stdout=file if stdout_to_file else theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        try:
            raw = _read(ours, process, list(typed))
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        file.seek(0)
        return Shown(process.returncode, raw.decode("utf-8", "replace"), file.read().decode("utf-8"))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(terminal: int, process: "subprocess.Popen[bytes]", typed: list[tuple[float, bytes]]) -> bytes:
    """All that the program writes until it ends or two minutes are over."""
    raw, began = b"", time.monotonic()
    while time.monotonic() - began < 120:
        if typed and time.monotonic() - began >= typed[0][0]:
            os.write(terminal, typed.pop(0)[1])
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                raw += os.read(terminal, 1 << 16)
            except OSError:  # EIO: the other side is closed
                break
        elif process.poll() is not None:
            break
    process.wait(10)
    return raw
