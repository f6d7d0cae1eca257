"""Attempts as detached processes of this machine: one slot a GPU, or one for the CPUs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vlm.service.attempts.job_lock import is_locked
from vlm.service.attempts.process_end import unheard, when_ended
from vlm.service.attempts.process_identity import NAME as IDENTITY
from vlm.service.attempts.process_identity import ProcessIdentity, identify
from vlm.service.attempts.wrapper import START
from vlm.service.engines.engine import Health, NativeState, Slot, Start, is_card
from vlm.service.engines.start_file import write_start
from vlm.service.store.rows import Attempt

STARTING_S = 30.0
"""Seconds in which a wrapper that was started must take the job's lock; after that the attempt counts as gone."""


class LocalEngine:
    """Runs every attempt under a wrapper in a session of its own, which outlives the service."""

    name = "local"
    queues = False

    def __init__(
        self,
        attempt_folder: Callable[[Attempt], Path],
        slots: Callable[[bool], tuple[Slot, ...]],
        ended: Callable[[], None] = unheard,
    ) -> None:
        """`slots` lists the slots that there are, with True those of this moment.

        `ended` is called, in another thread, when an attempt that was started here has ended.
        """
        self._folder, self._slots, self._ended = attempt_folder, slots, ended
        self._wrappers: dict[str, subprocess.Popen[bytes]] = {}

    def probe(self, fresh: bool = False) -> Health:
        """This machine and its slots."""
        return Health(True, "", self._slots(fresh))

    def submit(self, start: Start) -> str:
        """Start the wrapper; its identity is the attempt's name here.

        Of two wrappers of one attempt the second finds the lock taken, and ends.
        """
        write_start(start)
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(_devices(start.attempt.slots))}
        wrapper = subprocess.Popen(
            [sys.executable, "-P", "-m", "vlm.service.attempts.wrapper", str(start.folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wrappers[start.attempt.name] = wrapper
        when_ended(wrapper, self._ended)
        return str(identify(wrapper.pid) or "ended")

    def poll(self, attempts: Sequence[Attempt]) -> dict[str, NativeState]:
        """Running while the job's lock is held; pending for a moment after its start."""
        return {attempt.name: self._state(attempt) for attempt in attempts}

    def withdraw(self, attempt: Attempt) -> None:
        """Nothing: there is no queue."""

    def kill(self, attempt: Attempt) -> None:
        """Nothing: the wrapper is on this machine, and kills its process group."""

    def _state(self, attempt: Attempt) -> NativeState:
        folder, host = self._folder(attempt), os.uname().nodename
        if is_locked(folder.parent):
            return NativeState("running", hosts=(host,))
        wrapper = self._wrappers.get(attempt.name)
        if wrapper is not None:
            if wrapper.poll() is None:  # also takes its exit code off the kernel
                return NativeState("pending", "starting")
            del self._wrappers[attempt.name]
            return NativeState("gone")
        named = ProcessIdentity.parse(attempt.native_id)
        if named is not None and named.lives:  # someone has deleted the folder, and the lock with it
            return NativeState("running", hosts=(host,))
        if not attempt.native_id and not (folder / IDENTITY).exists() and _age(folder / START) < STARTING_S:
            return NativeState("pending", "starting")
        return NativeState("gone")


def _age(file: Path) -> float:
    """Seconds since a file was written, whichever way the clock was set since; infinite where there is none."""
    try:
        return abs(time.time() - file.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _devices(slots: Sequence[str]) -> list[str]:
    return [slot for slot in slots if is_card(slot)]
