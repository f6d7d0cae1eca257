"""What the chat shows beside the conversation: the boxes of the last answer, and that an earlier image still counts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from demo.pages.i18n import TEXTS, label, text
from demo.pages.parts.answer_boxes import UNKNOWN, boxes_html
from demo.pages.parts.chat_messages import ChatTurn, QuestionInput, is_refusal, last_image
from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from llm.i18n.translate import Language
from vlm.scores.model_boxes import ModelBoxes

# Whether a question that was answered has an image: what was refused counts for nothing, as on the server. Run in the
# browser: the event comes with every piece of an answer.
STILL_COUNTS = """(chat) => {
  const kept = [];
  for (const turn of chat || []) {
    if (turn.role !== 'assistant' || turn.metadata?.id !== 'refused') kept.push(turn);
    else while (kept.at(-1)?.role === 'user') kept.pop();
  }
  const shown = turn => turn.role === 'user' && [turn.content].flat().some(part => part?.file || part?.path);
  return [{__type__: 'update', visible: kept.slice(0, -1).some(shown)}];
}"""


@dataclass(frozen=True, slots=True)
class ChatNotes:
    """The components: the figure with the boxes, the note, and the button that starts without the image."""

    boxes: gr.HTML
    note: gr.Row
    restart: gr.Button

    def add_to(self, chat: gr.ChatInterface, forget_after: Callable[[Callable[..., Dependency]], None]) -> None:
        """Put the notes above the question and connect them.

        `forget_after` makes an event delete the shown chat from the visitor's browser.
        """
        for part in (self.boxes, self.note):
            _move_above(part, chat.textbox)
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        chat.chatbot.change(None, chat.chatbot, self.note, js=STILL_COUNTS, api_visibility="private")
        for emptied in (chat.chatbot.clear, chat.chatbot.undo):
            emptied(lambda: "", None, self.boxes, **quiet)
        values = [chat.chatbot, chat.chatbot_state, chat.chatbot_value, self.boxes]
        emptied = self.restart.click(lambda: [[], [], [], ""], None, values, **quiet)
        forget_after(emptied.then)


def _move_above(part: Block, box: Block) -> None:
    """Move a component directly above the group of a question's box, which gradio makes together with the chat."""
    row = box.parent
    group = row.parent if row is not None else None
    assert group is not None and group.parent is not None and part.parent is not None  # gr.ChatInterface's layout
    part.parent.children.remove(part)
    part.parent = group.parent
    part.parent.children.insert(part.parent.children.index(group), part)


def chat_notes() -> ChatNotes:
    """Make the components in the page under construction; to be made before the chat, whose outputs they are."""
    boxes = gr.HTML(elem_id="boxes")
    with gr.Row(visible=False, elem_id="still-counts") as note:
        gr.Markdown(label("still_counts"))
        restart = gr.Button(label("new_chat"), size="sm", scale=0, min_width=240, elem_id="new-chat")
    return ChatNotes(boxes, note, restart)


def boxes_of_answer(
    answer: str,
    history: Iterable[ChatTurn],
    question: QuestionInput | str,
    lang: Language,
    model: ModelBoxes = UNKNOWN,
) -> str:
    """The figure with the boxes of an answer, which `model` writes; empty without boxes or without an image."""
    try:
        image = last_image(history, question)
    except ImageError:  # deleted since the question was asked
        return ""
    return _figure(answer, image, lang, model)


def boxes_of_chat(turns: list[ChatTurn], lang: Language, model: ModelBoxes = UNKNOWN) -> str:
    """The figure for the last answer of a restored chat."""
    if not turns or turns[-1]["role"] != "assistant" or is_refusal(turns[-1]):
        return ""
    content = turns[-1]["content"]
    parts = content if isinstance(content, list) else [content]
    answer = "\n".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts)
    return boxes_of_answer(answer, turns[:-1], "", lang, model)


def _figure(answer: str, image: ImageRef | None, lang: Language, model: ModelBoxes) -> str:
    words = TEXTS["box"][lang == "zh"], TEXTS["box_number"][lang == "zh"]
    return boxes_html(text("boxes", lang), answer, image, *words, model)
