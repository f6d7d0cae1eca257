"""What happens on the machine during an attack: files that are opened, and processes that are started."""

import ctypes
import os
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

IN_OPEN, IN_NONBLOCK = 0x20, 0o4000  # sys/inotify.h
EVENT = struct.Struct("iIII")


class OpenedFiles:
    """Which of some files are opened by anyone, by inotify."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(IN_NONBLOCK)
        self._names: dict[int, Path] = {}
        for path in paths:
            watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), IN_OPEN)
            assert watch >= 0, f"{path}: {os.strerror(ctypes.get_errno())}"
            self._names[watch] = path

    def take(self) -> set[str]:
        """The names of the files that were opened since the last call."""
        found = set[str]()
        with suppress(BlockingIOError):
            while data := os.read(self._descriptor, 1 << 16):
                at = 0
                while at < len(data):
                    watch, _, _, length = EVENT.unpack_from(data, at)
                    at += EVENT.size + length
                    found.add(self._names[watch].name)
        return found

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)


class SeenProcesses:
    """The arguments and environments of all processes below a folder's name, looked at every few milliseconds.

    Only what a secret was found in is held, as (which program, where).
    """

    def __init__(self, mark: str, secrets: dict[str, str]) -> None:
        """`mark`: a text in the arguments of the processes; `secrets`: what must not be found, by name."""
        self._mark, self._secrets = mark.encode(), {name: text.encode() for name, text in secrets.items()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._known = set[tuple[str, bytes]]()
        self.programs = set[str]()
        self.found = set[tuple[str, str]]()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for name in filter(str.isdecimal, os.listdir("/proc")):
                with suppress(OSError):
                    self._look(name)

    def _look(self, pid: str) -> None:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        if self._mark not in arguments or (pid, arguments) in self._known:
            return
        self._known.add((pid, arguments))
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        words = arguments.decode(errors="replace").split("\0")
        program = next((word for word in words[1:] if "." in word and "/" not in word and " " not in word), words[0])
        self.programs.add(program)
        for secret, text in self._secrets.items():
            for place, content in (("arguments", arguments), ("environment", environment)):
                if text in content:
                    self.found.add((program, f"{secret} in its {place}"))
