"""What the pages know of the service."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.job_pages.parts.job_curves import JobCurves
from demo.job_pages.parts.job_table import RowContext, job_name
from demo.job_pages.parts.loss_cache import LossCache
from demo.job_pages.parts.markup import Markup
from demo.job_pages.parts.shell import machine_line
from demo.job_pages.parts.words import FRAME, text
from llm.i18n.translate import Language
from vlm.service.engines.engine import Slot
from vlm.service.gate_record import GateQuestion
from vlm.service.service import Service
from vlm.service.store.attempt_table import leased_slots
from vlm.service.store.job_table import count_jobs, find_job
from vlm.service.store.rows import Job
from vlm.service.store.states import State
from vlm.service.trainable_models import TrainableModels

GIB = 2**30


@dataclass(frozen=True, slots=True)
class PageContext:
    """The service, the models that it offers, its slots, and what was read of its jobs.

    `question_of`: what the look at a job, stored or not, needs to know.
    """

    service: Service
    models: TrainableModels
    slots: tuple[Slot, ...]
    losses: LossCache
    curves: JobCurves
    question_of: Callable[[Job], GateQuestion]

    def rows(self, lang: Language) -> RowContext:
        """What rows of the table need."""
        held: dict[str, list[str]] = {}
        for slot, job in leased_slots(self.service.database).items():
            held.setdefault(job, []).append(_short(slot))
        slots = {job: ", ".join(own) for job, own in held.items()}
        return RowContext(self.losses, self.service.estimates.finish, slots, time.time(), lang)

    def machine(self, lang: Language) -> Markup:
        """The line of the header."""
        leased = leased_slots(self.service.database)
        waiting = count_jobs(self.service.database, {State.VALIDATING, State.QUEUED})
        running = next((job for name in leased.values() if (job := find_job(self.service.database, name))), None)
        link = (job_name(running), f"/jobs/{running.id}") if running else None
        words = [devices(self.slots), memory_in_use(lang)]
        return machine_line(len(self.slots), len(leased), waiting, " · ".join(filter(None, words)), lang, link)


def devices(slots: tuple[Slot, ...]) -> str:
    """The slots in words: `CPU, 16 GiB`, `4 GPUs, 80 GiB each`."""
    first = slots[0]
    memory = f"{first.memory / GIB:,.0f} GiB" if first.memory else ""
    if first.device != "card":
        return ", ".join(part for part in ("CPU", memory) if part)
    count = f"{len(slots)} GPUs" if len(slots) > 1 else "GPU"
    return ", ".join(part for part in (count, memory) if part)


def memory_in_use(lang: Language, table: Path = Path("/proc/meminfo")) -> str:
    """The machine's main memory; empty where the kernel does not say."""
    try:
        lines = dict(line.split(":", 1) for line in table.read_text("ascii").splitlines())
        total, free = (int(lines[key].split()[0]) * 1024 / GIB for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError, IndexError):
        return ""
    return text(FRAME, "memory", lang, f"{total - free:,.0f}", f"{total:,.0f}")


def _short(slot: str) -> str:
    """A slot's name as it fits a cell: a card's UUID has 40 characters."""
    return slot if len(slot) <= 12 else f"{slot[:8]}…"
