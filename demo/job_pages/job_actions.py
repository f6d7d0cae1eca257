"""What can be done with a job in its state: the buttons, and what they do."""

from collections.abc import Callable

from demo.job_pages.parts.markup import Markup, tag
from demo.job_pages.parts.words import VIEW, text
from demo.jobs.submission import remove_completely
from llm.i18n.translate import Language
from vlm.service import requests
from vlm.service.service import Service
from vlm.service.store.rows import Job
from vlm.service.store.states import FINAL, State

OFFERED: dict[str, frozenset[State]] = {
    "pause": frozenset({State.VALIDATING, State.QUEUED, State.INTERRUPTED, State.STARTING, State.RUNNING}),
    "resume": frozenset({State.PAUSED}),
    "cancel": frozenset(State) - FINAL - {State.CANCELLING},
    "remove": FINAL,
}
"""The states in which an action is offered. The store decides: a state may change before a button is pressed."""
ASKED = frozenset({"cancel", "remove"})  # what cannot be undone is asked first


def act(service: Service, name: str, action: str) -> None:
    """Do it. Raises UnknownJobError, and StateConflictError where the state does not allow it any more."""
    changes: dict[str, Callable[[], object]] = {
        "pause": lambda: requests.pause(service.database, name),
        "resume": lambda: requests.resume(service.database, name),
        "cancel": lambda: requests.cancel(service.database, name),
        "remove": lambda: remove_completely(service, name),
    }
    changes[action]()
    service.supervisor.wake()


def buttons(job: Job, lang: Language) -> list[Markup]:
    """The buttons of the actions that the state allows."""
    return [_button(job, action, lang) for action, states in OFFERED.items() if job.state in states]


def _button(job: Job, action: str, lang: Language) -> Markup:
    asked = text(VIEW, f"ask_{action}", lang) if action in ASKED else None
    style = {"resume": "button primary", "cancel": "button danger", "remove": "button danger"}.get(action, "button")
    address = f"/pages/jobs/{job.id}/{action}"
    return tag(
        "button",
        text(VIEW, action, lang),
        type="button",
        id=f"act-{action}",
        class_=style,
        data_act=address,
        data_ask=asked,
    )
