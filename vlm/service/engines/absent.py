"""An engine that the service was started without, and that has attempts: only their folders say how they are."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vlm.service.attempts.exit_record import NAME as EXIT
from vlm.service.attempts.job_lock import is_locked
from vlm.service.attempts.stop_file import is_asked
from vlm.service.engines.engine import EngineDownError, Health, NativeState, Start
from vlm.service.store.rows import Attempt


class AbsentEngine:
    """Starts nothing. An attempt lives while its job's lock is held, and is gone when its exit.json is there."""

    queues = True

    def __init__(self, name: str, attempt_folder: Callable[[Attempt], Path]) -> None:
        self.name, self._folder = name, attempt_folder

    def probe(self, fresh: bool = False) -> Health:
        """Not usable, with what to do."""
        return Health(
            False,
            f"this service runs without the engine {self.name}. Start it with --engine {self.name}, or pause the job "
            "and resume it on another engine",
            (),
        )

    def submit(self, start: Start) -> str:
        """Raises EngineDownError."""
        raise EngineDownError(self.probe().reason)

    def poll(self, attempts: Sequence[Attempt]) -> dict[str, NativeState]:
        """An attempt that is to stop and that holds no lock is gone: it cannot begin after its record is written."""
        return {attempt.name: self._state(self._folder(attempt)) for attempt in attempts}

    def withdraw(self, attempt: Attempt) -> None:
        """Nothing: it cannot be reached."""

    def kill(self, attempt: Attempt) -> None:
        """Nothing: it cannot be reached."""

    def _state(self, folder: Path) -> NativeState:
        if is_locked(folder.parent):
            return NativeState("running")
        if (folder / EXIT).exists() or is_asked(folder):
            return NativeState("gone")
        return NativeState("pending", self.probe().reason)
