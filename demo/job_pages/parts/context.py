"""What the pages know of the service."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from demo.job_pages.parts.job_curves import JobCurves
from demo.job_pages.parts.job_table import RowContext
from demo.job_pages.parts.loss_cache import LossCache
from demo.job_pages.parts.markup import Markup
from demo.job_pages.parts.shell import machine_line
from llm.i18n.translate import Language
from vlm.service.engines.engine import Slot
from vlm.service.gate_record import GateQuestion
from vlm.service.service import Service
from vlm.service.store.attempt_table import leased_slots
from vlm.service.store.job_table import count_jobs
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
        busy = len(leased_slots(self.service.database))
        waiting = count_jobs(self.service.database, {State.VALIDATING, State.QUEUED})
        return machine_line(len(self.slots), busy, waiting, devices(self.slots), lang)


def devices(slots: tuple[Slot, ...]) -> str:
    """The slots in words: `CPU, 16 GiB`, `4 GPUs, 80 GiB each`."""
    first = slots[0]
    memory = f"{first.memory / GIB:,.0f} GiB" if first.memory else ""
    if first.device != "card":
        return ", ".join(part for part in ("CPU", memory) if part)
    count = f"{len(slots)} GPUs" if len(slots) > 1 else "GPU"
    return ", ".join(part for part in (count, memory) if part)


def _short(slot: str) -> str:
    """A slot's name as it fits a cell: a card's UUID has 40 characters."""
    return slot if len(slot) <= 12 else f"{slot[:8]}…"
