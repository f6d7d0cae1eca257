"""One thread for all of a model's work on its device, so that two answers never change the model's state at once."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

Result = TypeVar("Result")


class DeviceThread:
    """Does one piece of work after another, in order of arrival. Thread-safe; its thread ends with the object."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "device")
        self._lock = Lock()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Number of pieces of work that have not begun."""
        return self._waiting

    def post(self, work: Callable[[], Result]) -> "Future[Result]":
        """Do it after what was posted before; the future has its result or its exception.

        Raises RuntimeError while the interpreter ends.
        """
        with self._lock:
            self._waiting += 1
        return self._executor.submit(self._begin, work)

    def _begin(self, work: Callable[[], Result]) -> Result:
        with self._lock:
            self._waiting -= 1
        return work()
