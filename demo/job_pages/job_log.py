"""What happened to a job: its events, why it failed and what to do, and the end of its log."""

from pathlib import Path
from urllib.parse import urlencode

from demo.job_pages.parts.failure_words import FAILURE, what_to_do
from demo.job_pages.parts.job_table import moment
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.words import VIEW, text
from demo.visible_paths import hide_folders
from llm.errors import RunError
from llm.files.regular_files import open_regular
from llm.i18n.translate import Language
from vlm.service.gate import LOG as GATE_LOG
from vlm.service.service import Service
from vlm.service.store.attempt_table import attempts_of
from vlm.service.store.event_table import list_messages
from vlm.service.store.rows import Event, Job
from vlm.service.store.states import State

SHOWN = 200  # events
TAIL_BYTES = 6000  # of the trainer's log
LAST_LINES = 12  # that are shown at once


def event_list(service: Service, job: Job, lang: Language) -> Markup:
    """The newest events, newest first; metrics are in the curves."""
    events = list_messages(service.database, job.id, SHOWN)
    return tag("ol", *(_event(event, lang) for event in events), class_="events", tabindex="0")


def _event(event: Event, lang: Language) -> Markup:
    message = said(event.message, lang)
    lines = tag("span", message, class_=event.level)
    return tag("li", moment(event.created_at, ""), lines, id=f"event-{event.sequence}")


def trouble_card(service: Service, job: Job, lang: Language) -> Markup:
    """Why a job failed or was paused by the service, and what to do; empty for any other job."""
    if job.state is State.PAUSED:
        return _paused_card(service, job, lang)
    if job.state is not State.FAILED or job.error is None:
        return Markup("")
    attempts = attempts_of(service.database, job.id)
    first, _, rest = said(job.error.message, lang).partition("\n")
    code = tag("code", job.error.code, class_="badge failed", title=text(FAILURE, "code", lang))
    form = tag("a", text(FAILURE, "form", lang), href=f"/train?{urlencode({'like': job.id})}", class_="button")
    return tag(
        "section",
        tag("h2", text(VIEW, "why" if attempts else "why_before", lang), " ", code),
        tag("p", first),
        tag("pre", rest) if rest else None,  # the planner's advice is a table
        tag("p", tag("b", text(FAILURE, "what", lang)), " ", what_to_do(job.error, lang)),
        _log(_tail(_log_file(service, job)), lang),
        tag("p", form),
        class_="card bad",
    )


def _paused_card(service: Service, job: Job, lang: Language) -> Markup:
    """Why the service has paused a job: the disk refused, or training did not stop by itself."""
    newest = list_messages(service.database, job.id, 1)
    if not newest or newest[0].level == "info":
        return Markup("")
    head = tag("h2", text(FAILURE, "why_paused", lang))
    return tag("section", head, tag("p", said(newest[0].message, lang)), class_="card bad")


def _log(tail: str, lang: Language) -> Markup | None:
    """The last lines, and more of them on request."""
    if not tail:
        return None
    lines = tail.splitlines()
    shown = "\n".join(lines[-LAST_LINES:])
    head = tag("h3", text(FAILURE, "log", lang))
    last = tag("pre", shown, class_="log", tabindex="0", role="region", aria_label=text(FAILURE, "log", lang))
    more = tag("summary", text(FAILURE, "more_log", lang))
    older = tag("details", more, tag("pre", tail)) if len(lines) > LAST_LINES else None
    return joined([head, last, older])


def log_end(service: Service, job: Job, lang: Language) -> Markup:
    """The end of the newest log: of the trainer, or of the look at the data where training has not begun."""
    if job.state is State.FAILED and job.error is not None:  # `trouble_card` has it
        return tag("p", text(VIEW, "log_above", lang), class_="quiet")
    found = _tail(_log_file(service, job))
    label = text(VIEW, "log", lang)
    if not found:
        return tag("p", text(VIEW, "no_log", lang), class_="quiet")
    return tag("pre", found, class_="log", tabindex="0", role="region", aria_label=label)


def _log_file(service: Service, job: Job) -> Path:
    attempts = attempts_of(service.database, job.id)
    return service.layout.attempt(attempts[-1]) / "log.txt" if attempts else service.layout.job(job.id) / GATE_LOG


def _tail(file: Path) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with open_regular(file) as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            found = stream.read().decode("utf-8", "replace")
    except (OSError, RunError):
        return ""
    return hide_folders(found.partition("\n")[2] if size > TAIL_BYTES else found).strip()
