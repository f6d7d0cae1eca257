"""A row of the table, of a job or of a run that was started by hand: what it is, where it is and how it goes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from demo.job_pages.parts.failure_words import reason_text
from demo.job_pages.parts.job_kind import kind_text
from demo.job_pages.parts.loss_cache import LossCache
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.spark_line import spark_line
from demo.job_pages.parts.table_words import COLUMN, MARKS
from demo.job_pages.parts.words import RUN_STATES, STATES, TABLE, ago, least, span, text
from llm.i18n.translate import Language
from vlm.run_folders.progress import RunProgress
from vlm.service.estimates import AT_WORK
from vlm.service.outside_runs import OutsideRun
from vlm.service.store.rows import Job
from vlm.service.store.states import ACTIVE, State

CELLS = ("mark", "name", "state", "progress", "loss", "best", "speed", "left", "slot", "submitted")
COMMAND = "eyegraft jobs submit MODEL DATA.jsonl"
BADGES = {"finished": "succeeded", "stopped": "cancelled"}  # how the states of runs look


@dataclass(frozen=True, slots=True)
class RowContext:
    """What a row needs beside its job: its losses, when it ends, its slots, the time, the language."""

    losses: LossCache
    finish: Callable[[Job], int | None]
    slots: Mapping[str, str]
    now: float
    lang: Language


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `left`: in words, empty where unknown."""

    id: str
    address: str
    name: str
    about: str
    badge: Markup
    progress: Markup
    figures: RunProgress
    losses: list[float]
    left: str
    place: str
    created_at: int
    model: str = ""  # the trained one, once there is one


def row_of(one: Job | OutsideRun, context: RowContext) -> Row:
    """The row of a job or run."""
    return _of_job(one, context) if isinstance(one, Job) else _of_run(one, context)


def column_name(column: str, lang: Language) -> str:
    """What a column is called."""
    return text(COLUMN if column in COLUMN else TABLE, column, lang)


def empty_table(lang: Language) -> Markup:
    """What to do first."""
    return tag(
        "div",
        tag("h2", text(TABLE, "empty_title", lang)),
        tag("p", text(TABLE, "empty_text", lang)),
        tag("p", tag("a", text(TABLE, "empty_button", lang), href="/train", class_="button primary")),
        tag("p", text(TABLE, "empty_command", lang), class_="quiet"),
        tag("pre", COMMAND),
        class_="card empty first",
    )


def job_name(job: Job) -> str:
    """What a job is called: the suffix that its model was given, or the end of its id."""
    return str(job.request.get("suffix") or "") or job.id.removeprefix("ftjob-")[:8]


def state_of(job: Job) -> str:
    """The key of a job's state in the texts: one that runs and has done no step is preparing."""
    return "preparing" if job.state is State.RUNNING and not job.progress.step else job.state.value


def job_badge(job: Job, lang: Language) -> Markup:
    """The state of a job as a coloured word."""
    return tag("span", text(STATES, state_of(job), lang), class_=f"badge {job.state.value}")


def failure_of(job: Job, lang: Language) -> Markup | None:
    """Why a job failed, in a few words, its message as a title; None for any other job."""
    if job.state is not State.FAILED or job.error is None:
        return None
    first = said(job.error.message, lang).partition("\n")[0]
    return tag("span", reason_text(job.error, lang), class_="reason", title=first)


def run_badge(run: OutsideRun, lang: Language) -> Markup:
    """The state of a run."""
    return tag("span", text(RUN_STATES, run.state, lang), class_=f"badge {BADGES.get(run.state, run.state)}")


def progress_bar(progress: RunProgress, done: bool) -> Markup:
    """Steps done and to do, with a bar, full for what is `done`; empty before the first."""
    if not progress.step and not progress.steps:
        return Markup("")
    total = f" / {progress.steps:,}" if progress.steps else ""
    share = 1.0 if done else min(1.0, progress.step / progress.steps) if progress.steps else 0.0
    bar = tag("span", tag("span", style=f"width: {100 * share:.1f}%"), class_="bar", aria_hidden="true")
    return joined([f"{progress.step:,}{total}", bar])


def time_left(job: Job, context: RowContext) -> str:
    """Until the job is expected to end, waiting included; empty where nothing is known.

    Before the first step there is only a plan, which a machine with other work exceeds many times.
    """
    finish = context.finish(job)
    left = None if finish is None else max(0.0, finish - context.now)
    if not job.progress.step and (left is not None or job.state in AT_WORK):
        return least(left, context.lang)
    return "" if left is None else span(left, context.lang)


def place_of(job: Job, slots: Mapping[str, str]) -> str:
    """The engine, and the slots that the job has now."""
    held = slots.get(job.id, "") if job.state in ACTIVE else ""
    return " · ".join(part for part in (job.engine, held) if part)


def moment(seconds: int, shown: str) -> Markup:
    """A point in time; without a text of its own the browser shows it in the reader's zone."""
    exact = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    return tag("time", shown or exact[11:19], datetime=exact, class_="local" if shown else "local clock")


def _compare(row: Row, lang: Language) -> Markup | None:
    if not row.model:
        return None
    label = text(TABLE, "against_of", lang, row.name)
    return tag("a", text(TABLE, "against", lang), href=compare_link(row.model), class_="row-more", aria_label=label)


def chat_link(model: str) -> str:
    """The address of the chat with a model."""
    return f"/chat?{urlencode({'model': model})}"


def compare_link(model: str) -> str:
    """The address at which a model is compared with what it was trained from."""
    return f"/compare?{urlencode({'model': model, 'against': 'base'})}"


def _of_job(job: Job, context: RowContext) -> Row:
    return Row(
        id=job.id,
        address=f"/jobs/{job.id}",
        name=job_name(job),
        about=" · ".join(part for part in (kind_text(job, context.lang), job.model) if part),
        badge=joined([job_badge(job, context.lang), failure_of(job, context.lang)]),
        progress=progress_bar(job.progress, job.state is State.SUCCEEDED),
        figures=job.progress,
        losses=context.losses.of_job(job.id) if job.progress.step else [],
        left=time_left(job, context),
        place=place_of(job, context.slots),
        created_at=job.created_at,
        model=str(job.fine_tuned_model) if job.state is State.SUCCEEDED else "",
    )


def _of_run(run: OutsideRun, context: RowContext) -> Row:
    running = run.state == "running"
    left = run.progress.seconds_left(context.now) if running else None
    return Row(
        id=run.id,
        address=f"/runs/{run.id}",
        name=run.name,
        about=text(TABLE, "by_hand", context.lang),
        badge=run_badge(run, context.lang),
        progress=progress_bar(run.progress, run.state == "finished"),
        figures=run.progress,
        losses=context.losses.of_run(run) if run.progress.step else [],
        left="" if left is None else span(left, context.lang),
        place=run.writer if running else "",
        created_at=run.created_at,
    )


def best_of(progress: RunProgress, lang: Language) -> Markup:
    """The best measurements of a run; empty before the first."""
    loss, score = progress.best_loss, progress.best_score
    parts = [
        None if loss is None else tag("span", f"{loss:.4g}", title=text(COLUMN, "best_loss", lang)),
        None if score is None else _probes(score, loss is None, lang),
    ]
    return joined(parts)


def _probes(score: float, alone: bool, lang: Language) -> Markup:
    found = text(COLUMN, "probes", lang, f"{score:.3g}")
    return tag("span", found, title=text(COLUMN, "best_score", lang), class_=None if alone else "quiet")


def speed_of(progress: RunProgress, lang: Language) -> str:
    """Tokens a second at the newest line; empty before the first."""
    speed = progress.tokens_per_s
    return "" if speed is None else text(COLUMN, "per_second", lang, f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}")


def line_of(row: Row, number: int, context: RowContext, marks: bool = True) -> Markup:
    """A row as a line of the table; `number`: its place there, from 1. `marks`: it can be marked."""
    lang = context.lang
    name = tag("a", row.name, href=row.address, class_="row-link")
    loss = "" if row.figures.loss is None else f"{row.figures.loss:.4g}"
    line = spark_line(row.losses, text(TABLE, "loss_line", lang, loss))
    marked = text(MARKS, "mark", lang, row.name)
    box = tag("input", type="checkbox", class_="mark", value=row.id, aria_label=marked, autocomplete="off")
    cells: list[Markup] = [
        box if marks else Markup(""),
        joined([name, tag("span", row.about, class_="quiet"), _compare(row, lang)]),
        row.badge,
        row.progress,
        joined([line, tag("span", loss) if loss else None]),
        best_of(row.figures, lang),
        joined([speed_of(row.figures, lang)]),
        joined([row.left]),
        joined([row.place]),
        moment(row.created_at, ago(context.now - row.created_at, lang)),
    ]
    named = zip(CELLS[1:], cells[1:], strict=True)
    shown = [tag("td", cell, class_=key, data_head=column_name(key, lang), role="cell") for key, cell in named]
    mark = tag("td", cells[0], class_="marks", role="cell")
    return tag("tr", mark, *shown, id=f"row-{row.id}", role="row", aria_rowindex=number + 1)
