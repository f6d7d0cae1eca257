"""The Chat page: questions and images in, a streamed answer out."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.components.chatbot import ExampleMessage
from gradio.events import Dependency

from demo.model_library import ModelLibrary
from demo.pages.chat_notes import boxes_of_answer, chat_notes
from demo.pages.chat_store import store_chats
from demo.pages.i18n import label, language, text
from demo.pages.parts.chat_messages import ChatTurn, QuestionInput, conversation, refusal, refusal_text
from demo.pages.parts.escaping import escaped_markdown
from demo.pages.service_parts import ServiceParts
from demo.server.generation_queue import LOCAL_RECIPIENT, GenerationQueue, Recipient
from demo.server.input_checks import shown_frames
from demo.server.limits import Limits
from demo.server.visitor_errors import RequestError
from demo.server.visitors import recipient_of
from llm.chat.sampling import Sampling
from llm.errors import DataError, EyegraftError
from llm.formats.conversation import Conversation, ImageRef, VideoRef

EXAMPLES = 4
MAX_SEED = 2**53  # the largest integer that a browser represents exactly
# Whatever may be an image or a video: what cannot be read is named after it was sent, in the visitor's language.
FILE_TYPES = ["image", "video", ".heic", ".heif", ".avif", ".webp", ".mkv", ".avi", ".flv", ".wmv"]


def question_box(name: str, submit: str | bool = True) -> gr.MultimodalTextbox:
    """The input for a question and its images. ChatInterface shows the stop button only during an answer."""
    return gr.MultimodalTextbox(
        file_types=FILE_TYPES,
        file_count="multiple",
        sources=["upload"],
        placeholder=label("ask"),
        label=label("question"),
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
        gr.Dropdown(
            names, value=names[0] if names else None, label=label("model"), info=label("own_chat"), elem_id="weights"
        ),
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
    """The sampling parameters of the page. Raises RequestError for more than `stop_words` stop sequences in `stop`."""
    words = tuple(word.strip() for word in stop.split(",") if word.strip())
    if len(words) > stop_words:
        found = f"{len(words):,} of them, at most {stop_words} are accepted"
        raise RequestError("stop sequences", found, "Remove some")
    return Sampling(temperature, int(top_k), top_p, penalty, int(new_tokens), int(seed), words)


def chat_page(
    page: gr.Blocks,
    library: ModelLibrary,
    queue: GenerationQueue,
    limits: Limits,
    examples: list[Conversation],
    service: ServiceParts | None = None,
) -> tuple[gr.Dropdown, Callable[[Dependency], None]]:
    """Add the chat; returns its model dropdown, and what restores the chat after the event that first chooses a model.

    `examples` are the same for all models; those of a `service` are the chosen model's.
    """
    inputs, notes = controls(library, limits), chat_notes()

    def reply(
        question: QuestionInput,
        history: list[ChatTurn],
        request: gr.Request,
        name: str | None,
        system: str,
        *values: Any,
    ) -> Iterator[tuple[str | ChatTurn, str]]:
        """The answer as it grows, and in the end the figure with its boxes."""
        recipient, lang, shown = recipient_of(page, request), language(request), ""
        try:
            sampling = sampling_of(limits.stop_words, *values)
            for shown in answer(library, queue, limits, name, question, history, system, sampling, recipient):
                yield shown, ""
        except EyegraftError as error:
            queue.metrics.limits.refused_by(error)
            yield refusal(text("refused", lang, escaped_markdown(refusal_text(error, lang, library.visible)))), ""
            return
        if figure := boxes_of_answer(shown, history, question, lang, library.boxes(name)):
            yield shown, figure

    chat = gr.ChatInterface(
        reply,
        multimodal=True,
        chatbot=_conversation_box(says_no_models=not library and service is None),
        textbox=question_box("question"),
        additional_inputs=[inputs.model, inputs.system, *inputs.sampling],
        additional_outputs=[notes.boxes],
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
    stored, restore_after = store_chats(page, chat, inputs.model, notes, limits, service, library.boxes)
    notes.add_to(chat, stored.forget_after)
    _adapt_to_model(page, library, chat, inputs.model, examples)
    if service is not None:
        _show_examples(page, chat, inputs.model, service)
    return inputs.model, restore_after


def _conversation_box(says_no_models: bool) -> gr.Chatbot:
    """The conversation, whose texts are no markup of the page."""
    return gr.Chatbot(
        height="62vh",
        buttons=["copy"],
        sanitize_html=True,
        allow_tags=False,
        label=label("conversation"),
        show_label=False,
        elem_id="chatbot",
        placeholder=label("no_models" if says_no_models else "chat_begins"),
    )


def _show_examples(page: gr.Blocks, chat: gr.ChatInterface, model: gr.Dropdown, service: ServiceParts) -> None:
    """The examples of the chosen model; a click on one fills in the question."""

    def shown(name: str | None) -> gr.Chatbot:
        found = service.examples(name)
        return gr.Chatbot(examples=[ExampleMessage(text=one["text"], files=one["files"]) for one in found])

    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    for event in (page.load, model.change):
        event(shown, model, chat.chatbot, **quiet)
    chat.chatbot.example_select(chat.example_populated, None, chat.textbox, **quiet)


def _adapt_to_model(
    page: gr.Blocks, library: ModelLibrary, chat: gr.ChatInterface, model: gr.Dropdown, examples: list[Conversation]
) -> None:
    """A text model shows no examples with images and takes no image."""
    prepared = chat.examples_messages  # gradio has copied their images to where it serves files from

    for one, record in zip(prepared, examples, strict=True):
        _is_shown(one, record, True)  # gradio's copies are as old as the data, and would be deleted at once

    def adapt(name: str | None, before: bool) -> list[Any]:
        """Nothing changes between two vision models: a new textbox would lose what the visitor has typed."""
        sees_images = name not in library.weights or library.weights[name].sees_images
        shown = [one for one, record in zip(prepared, examples, strict=True) if _is_shown(one, record, sees_images)]
        # Without gradio's own icon of a text, which has no path: in an update it would be taken for a file.
        plain = [ExampleMessage(text=one["text"], files=one.get("files", [])) for one in shown]
        sources: list[Literal["upload", "microphone"]] = ["upload"] if sees_images else []
        placeholder = label("ask" if sees_images else "ask_text")
        if sees_images == before:
            return [before, gr.skip(), gr.skip()]
        box = gr.MultimodalTextbox(sources=sources, placeholder=placeholder)
        return [sees_images, gr.Chatbot(examples=plain) if prepared else gr.skip(), box]

    adapted = gr.State(True)  # the page is made for a model that sees images
    outputs = [adapted, chat.chatbot, chat.textbox]
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    for event in (page.load, model.change):
        event(adapt, [model, adapted], outputs, **quiet)


def _is_shown(prepared: ExampleMessage, record: Conversation, sees_images: bool) -> bool:
    """Whether an example is shown. Its images are copied again: the page's copies are deleted with old uploads."""
    files = [file["path"] for file in prepared.get("files", []) if isinstance(file, dict)]
    media: list[ImageRef | VideoRef] = [*record.images, *record.videos]
    if len(files) < len(media) or (files and not sees_images):  # images inside a data file have no path
        return False
    try:
        for one, copy in zip(media, files, strict=True):
            Path(copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one.path, copy)
    except OSError:  # the data has been moved
        return False
    return True


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
            if not chat_model.sees_images
            else f"{name} takes no videos and the chat has one. Choose another model or start a new chat"
        )
    yield from queue.stream_text(chat_model, shown_frames(chat_model, messages), sampling, recipient)


def example(record: Conversation) -> QuestionInput:
    """The first question of a record as an example."""
    first = next(message for message in record.messages if message.role == "user")
    media: list[ImageRef | VideoRef] = [*record.images, *record.videos]
    return {"text": first.text, "files": [one.path for one in media if one.path]}
