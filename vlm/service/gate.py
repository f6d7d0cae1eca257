"""Jobs that were just submitted are looked at, one at a time, by a program of its own; then they wait or fail."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from llm.errors import ServiceError
from llm.log import logger
from vlm.service.attempts.process_end import unheard, when_ended
from vlm.service.attempts.stop_file import die_with_parent
from vlm.service.gate_record import ANSWER, GateAnswer, GateQuestion, read_answer, write_question
from vlm.service.layout import Layout
from vlm.service.store.database import Database
from vlm.service.store.event_table import add_event, note_once, troubles_noted
from vlm.service.store.job_table import Note, job_in, move
from vlm.service.store.rows import Job, JobError
from vlm.service.store.states import State

MOST_TRIES = 3
LONGEST_S = 900.0  # of one look; the jobs after it wait
LOG = "gate.log"


class Gate:
    """Moves jobs from validating to queued or failed."""

    def __init__(
        self,
        database: Database,
        layout: Layout,
        question_of: Callable[[Job], GateQuestion],
        command_of: Callable[[Path], list[str]],
        engine: str,
        ended: Callable[[], None] = unheard,
    ) -> None:
        """`command_of` makes the command for a job's folder; `engine`: of jobs that name none.

        `ended` is called, in another thread, when a program has ended: its answer can be taken.
        """
        self._database, self._layout, self._engine = database, layout, engine
        self._question_of, self._command_of, self._ended = question_of, command_of, ended
        self._running: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._tries: dict[str, int] = {}

    def tick(self) -> None:
        """Take the answers that are there, and start to look at the next job. Returns at once."""
        if self._running is not None and self._running.poll() is None:
            if time.monotonic() - self._began < LONGEST_S:
                return
            self._running.kill()
            self._running.wait()
        self._running = None
        stuck, last = 0, ""
        while (job := job_in(self._database, State.VALIDATING, stuck)) is not None:
            if job.id == last:  # it is in trouble, which is noted
                stuck += 1
                continue
            last = job.id
            with troubles_noted(self._database, job.id):
                if self._look(job):
                    return

    def _look(self, job: Job) -> bool:
        """Settle a job, or start to look at it; whether it was started."""
        answer = self._answer(job)
        if answer is not None:
            self._settle(job, answer)
        elif self._tries.get(job.id, 0) == MOST_TRIES:
            message = (
                f"the look at the job's data ended without an answer {MOST_TRIES} times: out of memory, or too long"
            )
            self._settle(job, GateAnswer(error=JobError("validation_failed", message, "training_file")))
        else:
            self._start(job)
            return True
        return False

    def _answer(self, job: Job) -> GateAnswer | None:
        """The answer about a job; one that is damaged is removed, and the look repeated."""
        folder = self._layout.job(job.id)
        try:
            return read_answer(folder)
        except ServiceError as error:
            note_once(self._database, job.id, f"{error}; the job is looked at again")
            (folder / ANSWER).unlink(missing_ok=True)
            return None

    def _start(self, job: Job) -> None:
        folder = self._layout.job(job.id)
        write_question(folder, self._question_of(job))
        self._tries[job.id] = self._tries.get(job.id, 0) + 1
        with open(folder / LOG, "ab") as output:
            process = subprocess.Popen(
                self._command_of(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        self._running, self._began = process, time.monotonic()
        when_ended(process, self._ended)

    def _settle(self, job: Job, answer: GateAnswer) -> None:
        self._tries.pop(job.id, None)
        if answer.error is not None:
            note = Note(answer.error.message, "error")
            move(self._database, job.id, {State.VALIDATING}, State.FAILED, note, error=answer.error)
            return
        with self._database.transaction() as connection:
            for message in answer.notes:
                add_event(connection, job.id, message, "warn")
        engine = job.engine or self._engine
        moved = move(
            self._database,
            job.id,
            {State.VALIDATING},
            State.QUEUED,
            Note("Files validated, moving job to queued state"),
            recipe=answer.recipe,
            engine=engine,
            planned_bytes=answer.bytes or None,
            planned_seconds=answer.seconds if engine == "local" else None,  # of this machine's speed
        )
        if not moved:
            logger.info(f"{job.id}: was validated, and is not waiting for it any more")
