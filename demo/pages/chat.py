"""The Chat page: questions and images in, a streamed answer out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary
from demo.pages.i18n import label
from demo.pages.parts.browser_state import restore
from demo.pages.parts.chat_messages import ChatTurn, QuestionInput, conversation, error_toasts
from demo.server.generation_queue import LOCAL_RECIPIENT, GenerationQueue, Recipient
from demo.server.input_checks import request_error
from demo.server.limits import Limits
from demo.server.visitors import recipient_of
from llm.chat.sampling import Sampling
from llm.errors import DataError
from llm.formats.conversation import Conversation

EXAMPLES = 4
MAX_SEED = 2**53  # the largest integer that a browser represents exactly
FILE_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"]


def question_box(name: str, submit: str | bool = True) -> gr.MultimodalTextbox:
    """The input for a question and its images. ChatInterface shows the stop button only during an answer."""
    return gr.MultimodalTextbox(
        file_types=FILE_TYPES,
        file_count="multiple",
        sources=["upload"],
        placeholder=label("ask"),
        show_label=False,
        submit_btn=submit,
        stop_btn=True,
        elem_id=name,
    )


@dataclass(frozen=True, slots=True)
class Controls:
    """The inputs other than the question; `sampling` in the order of `sampling_of`'s parameters."""

    model: gr.Dropdown
    system: gr.Textbox
    sampling: tuple[gr.components.Component, ...]


def controls(library: ModelLibrary, limits: Limits) -> Controls:
    """The model, the system prompt and the sampling parameters."""
    names = list(library)
    return Controls(
        gr.Dropdown(names, value=names[0] if names else None, label=label("model"), elem_id="weights"),
        gr.Textbox("", label=label("system"), lines=2, max_length=limits.text, render=False),
        (
            gr.Slider(0, 2, 0, step=0.05, label=label("temperature"), render=False),
            gr.Slider(0.05, 1, 1, step=0.05, label=label("top_p"), render=False),
            gr.Slider(0, 200, 0, step=1, label=label("top_k"), render=False),
            gr.Slider(1, 2, 1, step=0.05, label=label("penalty"), render=False),
            gr.Slider(
                1, limits.new_tokens, min(256, limits.new_tokens), step=1, label=label("new_tokens"), render=False
            ),
            gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, label=label("seed"), render=False),
            gr.Textbox("", label=label("stop"), max_length=400, render=False),
        ),
    )


def sampling_of(
    stop_words: int,
    temperature: float,
    top_p: float,
    top_k: float,
    penalty: float,
    new_tokens: float,
    seed: float,
    stop: str,
) -> Sampling:
    """The sampling parameters of the page. Raises RecordError for more than `stop_words` stop sequences in `stop`."""
    words = tuple(word.strip() for word in stop.split(",") if word.strip())
    if len(words) > stop_words:
        found = f"{len(words):,} of them, at most {stop_words} are accepted"
        raise request_error("stop sequences", found, "Remove some")
    return Sampling(temperature, int(top_k), top_p, penalty, int(new_tokens), int(seed), words)


def chat_page(
    page: gr.Blocks, library: ModelLibrary, queue: GenerationQueue, limits: Limits, examples: list[Conversation]
) -> gr.Dropdown:
    """Add the chat to the page under construction; returns its model dropdown."""
    inputs = controls(library, limits)

    def reply(
        question: QuestionInput,
        history: list[ChatTurn],
        request: gr.Request,
        name: str | None,
        system: str,
        *values: Any,
    ) -> Iterator[str]:
        recipient = recipient_of(page, request)
        with error_toasts(library.visible):
            yield from answer(
                library,
                queue,
                limits,
                name,
                question,
                history,
                system,
                sampling_of(limits.stop_words, *values),
                recipient,
            )

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
            placeholder=None if len(library) else label("no_models"),
        ),
        textbox=question_box("question"),
        additional_inputs=[inputs.model, inputs.system, *inputs.sampling],
        additional_inputs_accordion=gr.Accordion(label("settings"), open=False, render=False),
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
    _store_in_browser(page, chat, limits)
    return inputs.model


def _store_in_browser(page: gr.Blocks, chat: gr.ChatInterface, limits: Limits) -> None:
    """Store the chat in the visitor's browser and restore it when the page is loaded.

    gradio's `save_history` would trust file names from the browser, and needs another click to restore the chat.
    """
    stored = gr.BrowserState([], storage_key="eyegraft-chat")
    # An empty chat is not stored: a page that is being loaded starts with one.
    store = "(chat, stored) => [chat.length ? chat : stored]"
    chat.chatbot.change(None, [chat.chatbot, stored], stored, js=store, api_visibility="private")
    for emptied in (chat.chatbot.clear, chat.chatbot.undo):  # the change event of an undo stores what is left
        emptied(None, None, stored, js="() => [[]]", api_visibility="private")
    page.load(
        lambda found: (turns := restore(found, limits), turns),
        stored,
        [chat.chatbot, chat.chatbot_state],
        api_visibility="private",
        show_progress="hidden",
    )


def answer(
    library: ModelLibrary,
    queue: GenerationQueue,
    limits: Limits,
    name: str | None,
    question: QuestionInput,
    history: list[ChatTurn],
    system: str,
    sampling: Sampling,
    recipient: Recipient = LOCAL_RECIPIENT,
) -> Iterator[str]:
    """Yield the answer so far. Closing the iterator stops the generation."""
    messages = conversation(history, question, system, limits)
    chat_model = library.open(name)
    if chat_model.cannot_see(messages):
        raise DataError(
            f"{name} is a text-only model and the chat has images. Choose another model or start a new chat"
        )
    yield from queue.stream_text(chat_model, messages, sampling, recipient)


def example(record: Conversation) -> QuestionInput:
    """The first question of a record as an example."""
    first = next(message for message in record.messages if message.role == "user")
    return {"text": first.text, "files": [image.path for image in record.images if image.path]}
