"""The chat: pictures and questions in, a streamed answer out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary
from demo.pages.i18n import say
from demo.pages.parts.browser_state import restore
from demo.pages.parts.chat_messages import ChatTurn, QuestionInput, conversation, told
from demo.server.generation_queue import LOCAL_CLIENT, Client, GenerationQueue
from demo.server.input_checks import refused
from demo.server.limits import DEFAULT, Limits
from demo.server.visitors import client_of
from llm.chat.sampling import Sampling
from llm.errors import DataError
from llm.formats.conversation import Conversation

EXAMPLES = 4
SEEDS = 2**53  # whole numbers that a browser writes exactly
FILE_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"]


def question_box(name: str, submit: Any = True) -> gr.MultimodalTextbox:
    """Where a question and its pictures are put. ChatInterface shows the stop button only while an answer grows."""
    return gr.MultimodalTextbox(
        file_types=FILE_TYPES,
        file_count="multiple",
        sources=["upload"],
        placeholder=say("ask"),
        show_label=False,
        submit_btn=submit,
        stop_btn=True,
        elem_id=name,
    )


@dataclass(frozen=True, slots=True)
class Controls:
    """The inputs beside the question, in the order in which `sampling_of` takes their values."""

    weights: gr.Dropdown
    system: gr.Textbox
    knobs: tuple[gr.components.Component, ...]


def controls(library: ModelLibrary, limits: Limits) -> Controls:
    """The model, the system prompt and the sampling knobs."""
    names = list(library)
    return Controls(
        gr.Dropdown(names, value=names[0] if names else None, label=say("weights"), elem_id="weights"),
        gr.Textbox("", label=say("system"), lines=2, max_length=limits.text, render=False),
        (
            gr.Slider(0, 2, 0, step=0.05, label=say("temperature"), render=False),
            gr.Slider(0.05, 1, 1, step=0.05, label=say("top_p"), render=False),
            gr.Slider(0, 200, 0, step=1, label=say("top_k"), render=False),
            gr.Slider(1, 2, 1, step=0.05, label=say("penalty"), render=False),
            gr.Slider(1, limits.new_tokens, min(256, limits.new_tokens), step=1, label=say("new_tokens"), render=False),
            gr.Number(0, precision=0, minimum=0, maximum=SEEDS, label=say("seed"), render=False),
            gr.Textbox("", label=say("stop"), max_length=400, render=False),
        ),
    )


def sampling_of(
    temperature: float, top_p: float, top_k: float, penalty: float, new_tokens: float, seed: float, stop: str
) -> Sampling:
    """The knobs of the page as a sampling. Raises RecordError for more stop words than a request may have."""
    words = tuple(word.strip() for word in stop.split(",") if word.strip())
    if len(words) > DEFAULT.stop_words:
        raise refused("stop words", f"{len(words):,} of them, at most {DEFAULT.stop_words}", "Leave some out")
    return Sampling(temperature, int(top_k), top_p, penalty, int(new_tokens), int(seed), words)


def chat_page(
    page: gr.Blocks, library: ModelLibrary, queue: GenerationQueue, limits: Limits, examples: list[Conversation]
) -> gr.Dropdown:
    """Build the chat into the page that is being built; returns the choice of weights."""
    chosen = controls(library, limits)

    def reply(
        asked: QuestionInput, history: list[ChatTurn], request: gr.Request, name: str | None, system: str, *knobs: Any
    ) -> Iterator[str]:
        client = client_of(page, request)
        with told():
            yield from answer(library, queue, limits, name, asked, history, system, sampling_of(*knobs), client)

    chat = gr.ChatInterface(
        reply,
        multimodal=True,
        chatbot=gr.Chatbot(
            height="62vh",
            buttons=["copy"],
            sanitize_html=True,
            allow_tags=False,
            show_label=False,
            elem_id="chatbot",
            placeholder=None if len(library) else say("no_weights"),
        ),
        textbox=question_box("question"),
        additional_inputs=[chosen.weights, chosen.system, *chosen.knobs],
        additional_inputs_accordion=gr.Accordion(say("settings"), open=False, render=False),
        editable=True,
        examples=[[example(record)] for record in examples] or None,
        run_examples_on_click=True,
        cache_examples=False,
        flagging_mode="never",
        save_history=False,
        concurrency_limit=1,
        api_visibility="private",
        show_progress="minimal",
    )
    _survive(page, chat, limits)
    return chosen.weights


def _survive(page: gr.Blocks, chat: gr.ChatInterface, limits: Limits) -> None:
    """Let the visitor's browser keep the chat, and bring it back when the page is loaded again.

    gradio's own `save_history` would trust the browser with file names, and keeps it behind one more click.
    """
    kept = gr.BrowserState([], storage_key="eyegraft-chat")
    # An empty chat changes nothing: a page that is being loaded begins with one.
    keep = "(chat, kept) => [chat.length ? chat : kept]"
    chat.chatbot.change(None, [chat.chatbot, kept], kept, js=keep, api_visibility="private")
    for emptied in (chat.chatbot.clear, chat.chatbot.undo):  # what an undo leaves is kept by the change it makes
        emptied(None, None, kept, js="() => [[]]", api_visibility="private")
    page.load(
        lambda found: (turns := restore(found, limits), turns),
        kept,
        [chat.chatbot, chat.chatbot_state],
        api_visibility="private",
        show_progress="hidden",
    )


def answer(
    library: ModelLibrary,
    queue: GenerationQueue,
    limits: Limits,
    name: str | None,
    asked: QuestionInput,
    history: list[ChatTurn],
    system: str,
    sampling: Sampling,
    client: Client = LOCAL_CLIENT,
) -> Iterator[str]:
    """The growing answer. Closing it stops the generation."""
    messages = conversation(history, asked, system, limits)
    chat_model = library.open(name)
    if chat_model.cannot_see(messages):
        raise DataError(f"{name} sees no pictures. Choose another model above, or begin anew without them")
    yield from queue.stream_text(chat_model, messages, sampling, client)


def example(record: Conversation) -> QuestionInput:
    """A record's first question as a suggestion."""
    first = next(message for message in record.messages if message.role == "user")
    return {"text": first.text, "files": [image.path for image in record.images if image.path]}
