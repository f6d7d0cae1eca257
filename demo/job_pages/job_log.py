"""What happened to a job: its events, why it failed, and the end of the trainer's log."""

from pathlib import Path

from demo.job_pages.parts.job_table import moment
from demo.job_pages.parts.markup import Markup, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.words import VIEW, text
from demo.visible_paths import hide_folders
from llm.errors import RunError
from llm.files.regular_files import open_regular
from llm.i18n.translate import Language
from vlm.service.service import Service
from vlm.service.store.attempt_table import attempts_of
from vlm.service.store.event_table import list_messages
from vlm.service.store.rows import Event, Job
from vlm.service.store.states import State

SHOWN = 200  # events
TAIL_BYTES = 6000  # of the trainer's log


def event_list(service: Service, job: Job, lang: Language) -> Markup:
    """The newest events, newest first; metrics are in the curves."""
    events = list_messages(service.database, job.id, SHOWN)
    return tag("ol", *(_event(event, lang) for event in events), class_="events", tabindex="0")


def _event(event: Event, lang: Language) -> Markup:
    message = said(event.message, lang)
    lines = tag("span", message, class_=event.level)
    return tag("li", moment(event.created_at, ""), lines, id=f"event-{event.sequence}")


def error_card(service: Service, job: Job, lang: Language) -> Markup:
    """Why a job failed, for one that has; empty for any other."""
    if job.state is not State.FAILED or job.error is None:
        return Markup("")
    attempts = attempts_of(service.database, job.id)
    title = "why" if attempts else "why_before"
    first, _, rest = said(job.error.message, lang).partition("\n")
    tail = _tail(service.layout.attempt(attempts[-1]) / "log.txt") if attempts else ""
    head = tag("summary", text(VIEW, "log_tail", lang))
    log = tag("details", head, tag("pre", tail)) if tail else None
    more = tag("pre", rest) if rest else None  # the planner's advice is a table
    return tag("section", tag("h2", text(VIEW, title, lang)), tag("p", first), more, log, class_="card bad")


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
