"""`eyegraft data ask`: send questions to an OpenAI-compatible API and write the answers as training data."""

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
from data_tools.ask.options import is_unencrypted
from data_tools.ask.plan import AskPlan
from data_tools.ask.rate_limit import RateLimiter
from data_tools.ask.workers import AskProgress, WorkerPool
from data_tools.progress import ProgressBar
from data_tools.rows.json_array import write_array
from llm.errors import RunError
from llm.files.atomic_files import write_atomically

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LISTED = 20  # failed questions in the report; the journal holds all
CONTINUE = "Run the same command to continue"


@dataclass(frozen=True, slots=True)
class AskOutcome:
    """How a run ended. `waiting` counts questions without an answer or a failure."""

    progress: AskProgress
    before: int  # answers of earlier runs
    waiting: int
    sent: int  # requests
    others: int  # answers in the journal to other questions, models or settings
    signal: int = 0  # that stopped the run

    @property
    def exit_code(self) -> int:
        """128 + signal when stopped, 3 when questions failed, otherwise 0."""
        if self.signal:
            return 128 + self.signal
        return 3 if self.progress.failed else 0


def ask(plan: AskPlan) -> AskOutcome:
    """Send the questions that the journal does not answer yet, and write all answers to `plan.out`.

    The file is written however the run ends, unless it is killed. Afterwards raises RunError or ConfigError when the
    server cannot be used.
    """
    with Journal(journal_path(plan.out)) as journal:
        rows = _journal_rows(plan, journal)
        before = len(rows)
        with ProgressBar(plan.out.name, len(plan.questions), before) as bar:
            if plan.server.key.value and is_unencrypted(plan.server.url):
                bar.print(f"{plan.server.url}: the key is sent unencrypted. Use https")
            outcome = asyncio.run(_run(plan, journal, rows, bar))
        kept = [outcome.progress.rows[key] for key in map(plan.key, plan.questions) if key in outcome.progress.rows]
        _write(plan, kept)
    if outcome.progress.error is not None:
        raise outcome.progress.error
    return outcome


def _journal_rows(plan: AskPlan, journal: Journal) -> dict[str, AnswerRow]:
    """The records made from the journal's answers, by key."""
    rows = {}
    for question in plan.questions:
        answer = journal.answers.get(key := plan.key(question))
        if answer is not None:
            try:
                rows[key] = plan.form.row(question, answer)
            except InvalidAnswer:
                continue  # written by hand or by another version; asked again
    return rows


async def _run(plan: AskPlan, journal: Journal, rows: dict[str, AnswerRow], bar: ProgressBar) -> AskOutcome:
    before, limiter, client = len(rows), RateLimiter(plan.per_minute, plan.limit), ApiClient(plan.server)

    def show(progress: AskProgress) -> None:
        bar.update(len(progress.rows) + len(progress.failed), progress.note)

    pool = WorkerPool(plan, client, journal, limiter, rows, show)
    caught: list[int] = []
    try:
        with _stop_on_signals(limiter, bar, caught):
            await pool.run()
    except asyncio.CancelledError:
        if not caught:  # cancelled from outside, not by our second signal
            raise
    finally:
        await client.close()
    others = len(journal.answers) - before
    waiting = len(plan.questions) - len(pool.progress.rows) - len(pool.progress.failed)
    return AskOutcome(pool.progress, before, waiting, limiter.sent, others, caught[0] if caught else 0)


@contextmanager
def _stop_on_signals(limiter: RateLimiter, bar: ProgressBar, caught: list[int]) -> Iterator[None]:
    """The first signal stops sending; requests in flight complete. The second cancels them. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_signal(number: int) -> None:
        caught.append(number)
        if len(caught) == 1:
            bar.print("stopping after the requests in flight; interrupt again to drop them")
            limiter.stop.set()
        else:
            task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _write(plan: AskPlan, rows: list[AnswerRow]) -> None:
    """Write OUT, unless nothing was ever answered."""
    if not rows and not plan.out.exists():
        return
    try:
        if plan.out.suffix.lower() == ".json":
            write_array(plan.out, rows)
        else:
            write_atomically(plan.out, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    except OSError as error:
        advice = f"Every answer is in {journal_path(plan.out)}: free disk space and run the same command"
        raise RunError(f"{plan.out}: {error.strerror}. {advice}") from error


def report(plan: AskPlan, outcome: AskOutcome) -> Iterator[str]:
    """The lines printed at the end: counts, failed questions, and how to continue."""
    progress = outcome.progress
    before = f", {outcome.before} of them by earlier runs" if outcome.before else ""
    yield f"{plan.out}: {len(progress.rows)} of {len(plan.questions)} answered{before}"
    yield f"{outcome.sent} requests, {progress.retried} of them retries; {progress.tokens.prompt:,} tokens read, " + (
        f"{progress.tokens.completion:,} written"
    )
    if plan.repeats:
        yield f"Repeated questions left out: {plan.repeats}"
    if outcome.others:
        yield f"{outcome.others} answers in {journal_path(plan.out)} to other questions or settings: not written"
    if plan.images:
        yield f"In a recipe write images: {plan.images}"
    yield from _failures(plan, progress)
    if outcome.waiting:
        why = signal.Signals(outcome.signal).name if outcome.signal else f"--limit {plan.limit}"
        yield f"Stopped by {why}, {outcome.waiting} questions left. {CONTINUE}"


def _failures(plan: AskPlan, progress: AskProgress) -> Iterator[str]:
    if not progress.failed:
        return
    yield f"{len(progress.failed)} failed; the same command retries them:"
    for name, reason in progress.failed[:LISTED]:
        yield f"  {name}: {reason}"
    if len(progress.failed) > LISTED:
        yield f"  and {len(progress.failed) - LISTED} more, in {journal_path(plan.out)}"
