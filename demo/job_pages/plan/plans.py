"""Plans of jobs that are not submitted yet, one at a time in a process of its own; what was planned is remembered.

A form that changes wants another plan: the process of the one that no form wants any more is ended.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from demo.job_plan.forecast_record import DataForecast, read_forecast
from demo.jobs.job_request import JobRequest
from llm.errors import ServiceError
from vlm.service.attempts.stop_file import die_with_parent
from vlm.service.gate_record import GateAnswer, GateQuestion, read_answer, read_question, write_answer, write_question
from vlm.service.store.rows import Job, JobError
from vlm.service.store.states import State

LONGEST_S = 900.0  # of a plan, as of the look at a submitted job
FORGOTTEN_S = 20.0  # a form that has not asked for so long is closed
POLL_S = 0.1
MOST = 100  # plans that are remembered
FAILED_S = 60.0  # after that a job that could not be planned is looked at again
MOST_IMAGES = 4  # unpacked archives that are kept for the next plan
PASSING = ("validation_failed", "invalid_model")  # codes of errors that another try may not meet
DONE, LOG = "done", "log.txt"
UNPLANNED = ("suffix", "metadata")  # keys of a request that change no plan


@dataclass(frozen=True, slots=True)
class PlanState:
    """What is known of a plan: the gate's answer and the forecast as soon as they are there, and whether it is over.

    `waited`: seconds since the form that asks wants it.
    """

    answer: GateAnswer | None
    forecast: DataForecast | None
    done: bool
    waited: float = 0.0

    @property
    def refusal(self) -> JobError | None:
        """Why the service would refuse the job; None while that is open, and where another try may go well."""
        error = self.answer.error if self.answer is not None else None
        return None if error is None or error.code in PASSING else error


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    question: GateQuestion
    images: Path | None
    asked: float
    began: float


class Plans:
    """Starts plans and reads what they have found. Thread-safe."""

    def __init__(self, root: Path, question_of: Callable[[Job], GateQuestion]) -> None:
        """`root`: the folder of plans; those of an earlier service, whose models may be others, are deleted."""
        shutil.rmtree(root, ignore_errors=True)
        self._root, self._question_of = root, question_of
        self._wanted: dict[str, _Wanted] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def of(self, body: dict[str, Any], form: str) -> PlanState:
        """The plan of a valid request. `form` wants it from now on instead of another one; empty: only looked up."""
        name = digest_of(body)
        state = self._state(self._root / name)
        with self._changed:
            if state.done or not form:
                self._wanted.pop(form, None)
                return state
            before = self._wanted.get(form)
            if before is None or before.name != name:
                self._wanted[form] = self._new(name, body)
            else:
                self._wanted[form] = replace(before, asked=time.monotonic())
            waited = time.monotonic() - self._wanted[form].began
            if self._thread is None:
                # One thread for all: a process that is to end with its parent ends with the thread that started it.
                self._thread = threading.Thread(target=self._work, name="plans", daemon=True)
                self._thread.start()
            self._changed.notify()
        return replace(state, waited=waited)

    def cancel(self, form: str) -> None:
        """The form wants no plan any more."""
        with self._changed:
            self._wanted.pop(form, None)

    def _new(self, name: str, body: dict[str, Any]) -> _Wanted:
        request = JobRequest.model_validate(body).completed(None)
        job = Job(
            id="plan",
            sequence=0,
            state=State.VALIDATING,
            created_at=0,
            request=request,
            model=body["model"],
            metadata={},
            training_file=body["training_file"],
            validation_file=body.get("validation_file"),
        )
        archive = body["x_eyegraft"].get("images")
        images = self._root / f"images-{archive}" if archive else None
        now = time.monotonic()
        return _Wanted(name, self._question_of(job), images, asked=now, began=now)

    def _state(self, folder: Path) -> PlanState:
        try:
            answer = read_answer(folder)
        except ServiceError:
            answer = None
        return PlanState(answer, read_forecast(folder), _is_done(folder, answer))

    def _work(self) -> None:
        while True:
            with self._changed:
                while (wanted := self._next()) is None:
                    self._changed.wait(FORGOTTEN_S)
            self._run(wanted)

    def _next(self) -> _Wanted | None:
        """The newest plan that a form still wants."""
        now = time.monotonic()
        self._wanted = {form: one for form, one in self._wanted.items() if now - one.asked < FORGOTTEN_S}
        waiting = [one for one in self._wanted.values() if not self._state(self._root / one.name).done]
        return max(waiting, key=lambda one: one.asked, default=None)

    def _is_wanted(self, name: str) -> bool:
        now = time.monotonic()
        with self._changed:
            return any(one.name == name and now - one.asked < FORGOTTEN_S for one in self._wanted.values())

    def _run(self, wanted: _Wanted) -> None:
        folder = self._root / wanted.name
        self._forget_old()
        shutil.rmtree(folder, ignore_errors=True)
        write_question(folder, wanted.question)
        command = [sys.executable, "-P", "-m", "demo.job_plan.plan_program", str(folder)]
        if wanted.images is not None:
            command.append(str(wanted.images))
        with open(folder / LOG, "wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_parent
            )
        if not self._followed(process, wanted.name):
            shutil.rmtree(folder, ignore_errors=True)
            return
        if self._state(folder).answer is None:
            message = f"the plan ended without an answer (exit code {process.returncode}): out of memory, or too long"
            write_answer(folder, GateAnswer(error=JobError("validation_failed", message)))
        (folder / DONE).touch()

    def _followed(self, process: "subprocess.Popen[bytes]", name: str) -> bool:
        """Whether the process came to its end, or took too long; False where no form wanted it any more."""
        ends = time.monotonic() + LONGEST_S
        while True:
            try:
                process.wait(POLL_S)
                return True
            except subprocess.TimeoutExpired:
                wanted = self._is_wanted(name)
            if not wanted or time.monotonic() > ends:
                process.kill()
                process.wait()
                return wanted

    def _forget_old(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        newest = sorted(self._root.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        images = [one for one in newest if one.name.startswith(("images-", "."))]
        plans = [one for one in newest if one not in images]
        questions = [_question(one) for one in plans]
        gone = [folder for folder, one in zip(plans, questions, strict=True) if one is None or not _has_files(one)]
        # What was unpacked goes with its upload too; the newest plan may be unpacking one.
        there = {f"images-{one.request['x_eyegraft'].get('images')}" for one in questions if one and _has_files(one)}
        unused = [folder for folder in images if folder.name not in there]
        for folder in (*images[MOST_IMAGES:], *plans[MOST:], *gone, *unused):
            shutil.rmtree(folder, ignore_errors=True)


def _is_done(folder: Path, answer: GateAnswer | None) -> bool:
    """Whether the plan is over. A failure that is no fault of the request, such as lost memory, may pass."""
    try:
        ended = (folder / DONE).stat().st_mtime
    except FileNotFoundError:
        return False
    error = answer.error if answer is not None else None
    return error is None or error.code not in PASSING or time.time() - ended < FAILED_S


def _question(folder: Path) -> GateQuestion | None:
    with suppress(OSError, ValueError, TypeError):  # none yet, or of another version
        return read_question(folder)
    return None


def _has_files(question: GateQuestion) -> bool:
    """Whether all uploads of a plan are there still: it holds some of their records."""
    paths = (question.training, question.validation, question.archive, *question.more)
    return all(Path(path).exists() for path in paths if path)


def digest_of(body: dict[str, Any]) -> str:
    """A name that requests of the same plan share."""
    planned = {key: value for key, value in body.items() if key not in UNPLANNED}
    return hashlib.sha256(json.dumps(planned, sort_keys=True).encode()).hexdigest()[:32]
