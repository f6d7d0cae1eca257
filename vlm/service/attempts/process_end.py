"""What waits for a process hears of its end at once, instead of at its next look."""

import subprocess
import threading
from collections.abc import Callable


def when_ended(process: "subprocess.Popen[bytes]", then: Callable[[], None]) -> None:
    """Call `then` in a thread of its own as soon as the process has ended. Others may still poll and wait for it."""

    def watch() -> None:
        process.wait()
        then()

    threading.Thread(target=watch, name="process-end", daemon=True).start()


def unheard() -> None:
    """In place of `then`, for whom the next look is soon enough."""
