"""The last comparison in the visitor's browser: the question, both models, and what they answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from demo.pages.parts.browser_state import restore
from demo.pages.parts.chat_messages import ChatTurn, QuestionInput
from demo.pages.service_parts import ServiceParts
from demo.server.limits import Limits

CELLS = 4  # left answer, left author, right answer, right author
ROLES = ["user", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """Where the browser stores the comparison.

    It is stored as turns of a chat (the models, the question, the cells), so that what comes back from a browser is
    checked as chats are.
    """

    state: gr.BrowserState

    def restore_after(
        self,
        loaded: Dependency,
        opened: gr.State,
        question: gr.MultimodalTextbox,
        cells: Sequence[gr.Textbox],
        limits: Limits,
    ) -> None:
        """Show the stored comparison after the event that chooses the models when the page is loaded.

        `opened`: which these are, left and right. The browser does not know them while their tab is not shown.
        """

        def restored(found: object, opened: list[str | None]) -> list[Any]:
            shown = shown_values(restore(found, limits), opened)
            return shown if shown else [gr.skip()] * (1 + len(cells))

        quiet: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        loaded.then(restored, [self.state, opened], [question, *cells], **quiet)


def stored_comparison(service: ServiceParts | None) -> StoredComparison:
    """Make the store in the page under construction: outside of all tabs, where it has its value at once."""
    secret = service.browser_secret if service else None
    return StoredComparison(gr.BrowserState([], storage_key="eyegraft-comparison", secret=secret))


def as_stored(models: Sequence[str], question: QuestionInput, cells: Sequence[str]) -> list[ChatTurn]:
    """What the browser stores. `models`: left and right; `cells`: the CELLS texts of both panes."""
    asked = [question.get("text") or "", *({"file": {"path": path}} for path in question.get("files") or ())]
    contents = (list(models), asked, list(cells))
    return [{"role": role, "content": content} for role, content in zip(ROLES, contents, strict=True)]


def shown_values(turns: list[ChatTurn], opened: Sequence[str | None]) -> list[Any]:
    """The question and the cells of restored turns; empty where they are no comparison of the `opened` models.

    The names of two other models would be above the answers.
    """
    if [turn["role"] for turn in turns] != ROLES:
        return []
    models, asked, cells = (turn["content"] for turn in turns)
    if models != list(opened) or len(cells) != CELLS or not all(isinstance(cell, str) for cell in cells):
        return []
    texts = [part for part in asked if isinstance(part, str)]
    files = [part["path"] for part in asked if not isinstance(part, str)]
    return [{"text": "".join(texts), "files": files}, *cells]
