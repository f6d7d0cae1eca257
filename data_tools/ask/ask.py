"""`eyegraft data ask`: questions to any OpenAI-compatible API, answers as training data."""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from data_tools.ask.answer_rows import AnswerRow, InvalidAnswer
from data_tools.ask.client import ApiClient
from data_tools.ask.journal import Journal, journal_path
from data_tools.ask.options import is_clear
from data_tools.ask.plan import AskPlan
from data_tools.ask.rate_limit import RateLimiter
from data_tools.ask.workers import AskProgress, WorkerPool
from data_tools.progress import ProgressBar
from llm.errors import RunError
from llm.files.atomic_files import write_atomically

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LISTED = 20  # failures named on the terminal; all of them are in the journal
GO_ON = "Run the same command to go on"


@dataclass(frozen=True, slots=True)
class AskOutcome:
    """How a run ended. `waiting` counts questions that were not asked or not settled."""

    tally: AskProgress
    before: int  # answers that were there already
    waiting: int
    sent: int
    others: int  # answers in the journal to other questions, models or settings
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """128 and the signal when stopped, 3 when some failed for good, else 0."""
        if self.signal:
            return 128 + self.signal
        return 3 if self.tally.failed else 0


def ask(plan: AskPlan) -> AskOutcome:
    """Ask what the journal does not answer yet, and write every answer there is to `plan.out`.

    The file is written however the run ends, except when it is killed. Raises RunError or ConfigError, after that, when
    the server cannot be used.
    """
    with Journal(journal_path(plan.out)) as journal:
        rows = _known(plan, journal)
        before = len(rows)
        with ProgressBar(plan.out.name, len(plan.questions), before) as bar:
            if plan.server.key.value and is_clear(plan.server.url):
                bar.print(f"{plan.server.url}: the key goes there unencrypted; https would hide it")
            outcome = asyncio.run(_run(plan, journal, rows, bar))
        kept = [outcome.tally.rows[key] for key in map(plan.key, plan.questions) if key in outcome.tally.rows]
        _write(plan, kept)
    if outcome.tally.error is not None:
        raise outcome.tally.error
    return outcome


def _known(plan: AskPlan, journal: Journal) -> dict[str, AnswerRow]:
    """The rows that the journal's answers make, by key."""
    rows = {}
    for question in plan.questions:
        answer = journal.answers.get(key := plan.key(question))
        if answer is not None:
            try:
                rows[key] = plan.form.row(question, answer)
            except InvalidAnswer:
                continue  # written by hand or by another version: asked again
    return rows


async def _run(plan: AskPlan, journal: Journal, rows: dict[str, AnswerRow], bar: ProgressBar) -> AskOutcome:
    before, pace, client = len(rows), RateLimiter(plan.per_minute, plan.limit), ApiClient(plan.server)

    def show(progress: AskProgress) -> None:
        bar.update(len(progress.rows) + len(progress.failed), progress.note)

    crew = WorkerPool(plan, client, journal, pace, rows, show)
    caught: list[int] = []
    try:
        with _listening(pace, bar, caught):
            await crew.work()
    except asyncio.CancelledError:
        if not caught:  # not by a second signal of ours
            raise
    finally:
        await client.close()
    others = len(journal.answers) - before
    waiting = len(plan.questions) - len(crew.tally.rows) - len(crew.tally.failed)
    return AskOutcome(crew.tally, before, waiting, pace.sent, others, caught[0] if caught else 0)


@contextmanager
def _listening(pace: RateLimiter, bar: ProgressBar, caught: list[int]) -> Iterator[None]:
    """The first signal lets what was sent come back, the second drops it; a thread other than the first gets none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def hear(number: int) -> None:
        caught.append(number)
        if len(caught) == 1:
            bar.print("stopping: what was sent comes back first; once more drops it")
            pace.stop.set()
        else:
            task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, hear, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _write(plan: AskPlan, rows: list[AnswerRow]) -> None:
    """OUT with these rows; where nothing was ever answered there is none."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    if plan.out.suffix.lower() == ".json":
        text = "[\n" + ",\n".join(lines) + "\n]\n"
    else:
        text = "".join(f"{line}\n" for line in lines)
    if not rows and not plan.out.exists():
        return
    try:
        write_atomically(plan.out, text)
    except OSError as error:
        advice = f"Every answer is in {journal_path(plan.out)}: free space and run the same command"
        raise RunError(f"{plan.out}: {error.strerror}. {advice}") from error


def report(plan: AskPlan, outcome: AskOutcome) -> Iterator[str]:
    """What is said at the end: counts first, then what failed, then how to go on."""
    tally = outcome.tally
    before = f", {outcome.before} of them from before" if outcome.before else ""
    yield f"{plan.out}: {len(tally.rows)} of {len(plan.questions)} answered{before}"
    yield f"{outcome.sent} requests, {tally.retried} of them again; {tally.tokens.prompt:,} tokens read, " + (
        f"{tally.tokens.completion:,} written"
    )
    if plan.repeats:
        yield f"Repeated questions left out: {plan.repeats}"
    if outcome.others:
        yield f"{outcome.others} answers in {journal_path(plan.out)} are to other questions or settings: not written"
    if plan.images:
        yield f"Train on it with images: {plan.images}"
    yield from _failures(plan, tally)
    if outcome.waiting:
        why = signal.Signals(outcome.signal).name if outcome.signal else f"--limit {plan.limit}"
        yield f"Stopped by {why}, {outcome.waiting} questions left. {GO_ON}"


def _failures(plan: AskPlan, tally: AskProgress) -> Iterator[str]:
    if not tally.failed:
        return
    yield f"{len(tally.failed)} failed; the same command asks them again:"
    for name, reason in tally.failed[:LISTED]:
        yield f"  {name}: {reason}"
    if len(tally.failed) > LISTED:
        yield f"  and {len(tally.failed) - LISTED} more, in {journal_path(plan.out)}"
