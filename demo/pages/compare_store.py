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
# Run in the browser: a comparison of two other models is not restored, whose names would be above its answers.
OPENED = """(stored, left, right) => {
  const same = stored?.models?.[0] === left && stored?.models?.[1] === right;
  return [same ? stored.turns : [], left, right];
}"""


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """Where the browser stores the comparison.

    It is stored as turns of a chat, so that what comes back from a browser is checked as chats are.
    """

    state: gr.BrowserState

    def restore_after(
        self,
        loaded: Dependency,
        models: Sequence[gr.Dropdown],
        question: gr.MultimodalTextbox,
        cells: Sequence[gr.Textbox],
        limits: Limits,
    ) -> None:
        """Show the stored comparison after the event that chooses the models when the page is loaded."""

        def restored(found: object, left: str | None, right: str | None) -> list[Any]:
            shown = shown_values(restore(found, limits))
            return shown if shown else [gr.skip()] * (1 + len(cells))

        loaded.then(
            restored,
            [self.state, *models],
            [question, *cells],
            js=OPENED,
            queue=False,
            api_visibility="private",
            show_progress="hidden",
        )


def stored_comparison(service: ServiceParts | None) -> StoredComparison:
    """Make the store in the page under construction."""
    secret = service.browser_secret if service else None
    return StoredComparison(gr.BrowserState({}, storage_key="eyegraft-comparison", secret=secret))


def as_stored(models: tuple[str, str], question: QuestionInput, cells: Sequence[str]) -> dict[str, Any]:
    """What the browser stores. `cells`: the CELLS texts of both panes."""
    asked = [question.get("text") or "", *({"file": {"path": path}} for path in question.get("files") or ())]
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": list(cells)}]
    return {"models": list(models), "turns": turns}


def shown_values(turns: list[ChatTurn]) -> list[Any]:
    """The question and the cells of restored turns; empty where they are no comparison."""
    if [turn["role"] for turn in turns] != ["user", "assistant"]:
        return []
    asked, cells = (turn["content"] for turn in turns)
    texts = [part for part in asked if isinstance(part, str)]
    files = [part["path"] for part in asked if not isinstance(part, str)]
    if len(cells) != CELLS or not all(isinstance(cell, str) for cell in cells):
        return []
    return [{"text": "".join(texts), "files": files}, *cells]
