"""The chats in the visitor's browser, one for each model: no model continues what another one has answered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from demo.pages.chat_notes import ChatNotes, boxes_of_chat
from demo.pages.i18n import language
from demo.pages.parts.answer_boxes import UNKNOWN
from demo.pages.parts.browser_state import restore
from demo.pages.parts.chat_messages import ChatTurn
from demo.pages.service_parts import ServiceParts
from demo.server.limits import Limits
from vlm.scores.model_boxes import ModelBoxes

KEPT = 4  # models whose chats are stored, those used last
# The functions below run in the browser. What is stored is an object of chats by the name of the model; earlier
# versions stored one list of turns, of a model that is not known.
# An empty chat is not stored: a page that is being loaded starts with one.
STORE = f"""(chat, stored, model) => {{
  if (!chat || !chat.length) return [stored];
  const others = Object.entries(Array.isArray(stored) ? {{}} : stored || {{}}).filter(([name]) => name !== model);
  return [Object.fromEntries([...others.slice({1 - KEPT}), [model, chat]])];
}}"""
FORGET = """(stored, model) => [
  Object.fromEntries(Object.entries(Array.isArray(stored) ? {} : stored || {}).filter(([name]) => name !== model))
]"""
OPENED = "(stored, model) => [Array.isArray(stored) ? stored : stored?.[model] || [], model]"


@dataclass(frozen=True, slots=True)
class StoredChats:
    """Where the browser stores the chats, and the name of the model whose chat is shown."""

    chats: gr.BrowserState
    shown: gr.BrowserState

    def forget_after(self, event: Callable[..., Dependency]) -> None:
        """Delete the shown chat from the browser when the event happens."""
        event(None, [self.chats, self.shown], self.chats, js=FORGET, api_visibility="private")


def store_chats(
    page: gr.Blocks,
    chat: gr.ChatInterface,
    model: gr.Dropdown,
    notes: ChatNotes,
    limits: Limits,
    service: ServiceParts | None = None,
    boxes: Callable[[str | None], ModelBoxes] = lambda _: UNKNOWN,
) -> tuple[StoredChats, Callable[[Dependency], None]]:
    """Store every chat in the visitor's browser, and open a model's own when it is chosen.

    Returns where they are stored, and what restores the chat of the model that is chosen after an event: to be called
    with the event that chooses the model when the page is loaded.

    `boxes` is how the model of a name writes boxes.

    gradio's `save_history` would trust file names from the browser, and needs another click to restore the chat.
    """
    secret = service.browser_secret if service else None
    stored = StoredChats(
        gr.BrowserState({}, storage_key="eyegraft-chat", secret=secret),
        gr.BrowserState("", storage_key="eyegraft-chat-model", secret=secret),
    )
    values = [chat.chatbot, stored.chats, stored.shown]
    chat.chatbot.change(None, values, stored.chats, js=STORE, api_visibility="private")
    for emptied in (chat.chatbot.clear, chat.chatbot.undo):  # the change event of an undo stores what is left
        stored.forget_after(emptied)

    def restored(found: object, name: str | None, request: gr.Request) -> tuple[Any, ...]:
        turns: list[ChatTurn] = restore(found, limits)
        return turns, turns, turns, boxes_of_chat(turns, language(request), boxes(name)), name or ""

    outputs = [chat.chatbot, chat.chatbot_state, chat.chatbot_value, notes.boxes, stored.shown]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def restore_after(loaded: Dependency) -> None:
        loaded.then(restored, [stored.chats, model], outputs, js=OPENED, **quiet)

    # An answer of the model before would be written into the chat of the chosen one.
    model.input(None, cancels=_answers(page, chat), api_visibility="private")
    model.input(restored, [stored.chats, model], outputs, js=OPENED, **quiet)
    return stored, restore_after


def _answers(page: gr.Blocks, chat: gr.ChatInterface) -> list[Any]:
    """The events that write an answer: those that the stop button of the chat cancels."""
    stop = (chat.textbox._id, "stop")
    functions: dict[int, Any] = dict(page.fns)  # gradio does not annotate `get_config`
    stopped = [number for one in functions.values() if stop in one.targets for number in one.cancels]
    return [functions[number].get_config() for number in stopped]
