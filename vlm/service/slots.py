"""The slots of this machine: its GPUs by UUID or, without one, its CPUs as one slot."""

import subprocess
import time
from pathlib import Path

from llm.errors import ServiceError
from llm.log import logger
from vlm.service.engines.engine import Slot

QUERY = ("nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits")
TIMEOUT_S = 20.0
FRESH_S = 30.0  # for so long a list of slots is believed


class LiveSlots:
    """The slots that there are now: a card may fall off the bus while jobs run. CPUs do not."""

    def __init__(self, known: tuple[Slot, ...]) -> None:
        """`known`: what was found a moment ago."""
        self._known, self._found_at = known, time.monotonic()
        self._cards = any(slot.device == "card" for slot in known)

    def __call__(self, fresh: bool) -> tuple[Slot, ...]:
        """The slots, looked up again when that was a while ago or with `fresh`; as before where it fails."""
        if self._cards and (fresh or time.monotonic() - self._found_at > FRESH_S):
            try:
                self._known = _cards()
            except ServiceError as error:
                logger.warning(str(error))
            self._found_at = time.monotonic()
        return self._known


def find_slots() -> tuple[Slot, ...]:
    """The slots. Raises ServiceError where there is an NVIDIA driver that does not answer."""
    cards = _cards()
    return cards or (Slot("cpu", "cpu", memory_bytes()),)


def _cards() -> tuple[Slot, ...]:
    try:
        found = subprocess.run(QUERY, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        return ()
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"nvidia-smi did not answer within {TIMEOUT_S:g} s. Check the driver, then start again"
        ) from error
    if found.returncode:
        return ()
    return tuple(_card(line) for line in found.stdout.splitlines() if line.strip())


def _card(line: str) -> Slot:
    uuid, memory = (part.strip() for part in line.split(","))
    return Slot(uuid, "card", int(memory) * 2**20)


def memory_bytes() -> int:
    """This machine's memory."""
    first = Path("/proc/meminfo").read_text(encoding="ascii").partition("\n")[0]  # MemTotal:  24610000 kB
    return int(first.split()[1]) * 1024
