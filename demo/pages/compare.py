"""The Compare page: one question to two models side by side, and a table of probe questions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.events import Dependency

from demo import probes
from demo.model_library import ModelLibrary
from demo.pages.chat import MAX_SEED, question_box
from demo.pages.compare_store import StoredComparison, as_stored
from demo.pages.i18n import LABELS, label, language, probe_cells, table, text
from demo.pages.parts.chat_messages import QuestionInput, conversation, error_toasts, refusal_text
from demo.pages.parts.choices import file_choice
from demo.pages.parts.escaping import escaped
from demo.pages.parts.model_names import shown_author
from demo.pages.parts.records import load_records
from demo.pages.service_parts import ServiceParts
from demo.server.generation_queue import LOCAL_RECIPIENT, GenerationQueue, Recipient
from demo.server.input_checks import shown_frames
from demo.server.limits import Limits
from demo.server.uploads import new_download_folder
from demo.server.visitors import recipient_of
from llm.chat.sampling import Sampling
from llm.config.schema import Source
from llm.errors import EyegraftError
from llm.formats.conversation import Message
from llm.i18n.translate import Language

PROBE_TOKENS = 64
SIDES = ("left", "right")  # as they stand on a wide screen


@dataclass(frozen=True, slots=True)
class Pane:
    """One side: the chosen model, its answer, and a description of the weights that gave it."""

    model: gr.Dropdown
    answer: gr.Textbox
    author: gr.Textbox


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both answers so far.

    Attributes:
        side: The model that works now: 0 or 1 of SIDES.
        state: What it does: `opening`, `reading` or `writing`.
        cells: Left answer, left author, right answer, right author.
    """

    side: int
    state: str
    cells: tuple[str, ...]


def compare_page(
    page: gr.Blocks,
    library: ModelLibrary,
    queue: GenerationQueue,
    limits: Limits,
    sources: Mapping[str, Source],
    stored: StoredComparison,
    service: ServiceParts | None = None,
) -> tuple[tuple[gr.Dropdown, ...], Callable[[Dependency, gr.State], None]]:
    """Add the comparison to the page under construction.

    Returns its two model dropdowns, and what restores the last comparison after the event that first chooses models,
    with the state that holds these two.
    """
    gr.Markdown(label("compare_heading"), elem_classes="eg-hidden")
    question_input = question_box("compare-question", label("ask_both"))
    state = gr.HTML(elem_id="compare-state")
    with gr.Row():
        panes = [_pane(library, *chosen) for chosen in zip(SIDES, library.comparison(), strict=True)]
    settings = _settings(limits)
    cells = [part for pane in panes for part in (pane.answer, pane.author)]
    models = [pane.model for pane in panes]

    def both(
        question: QuestionInput,
        left: str,
        right: str,
        system: str,
        temperature: float,
        new_tokens: float,
        seed: float,
        request: gr.Request,
    ) -> Iterator[list[Any]]:
        lang = language(request)
        try:
            messages = conversation([], question, system, limits)
            sampling = Sampling(temperature, max_new_tokens=int(new_tokens), seed=int(seed))
            skipped, recipient = text("text_only", lang), recipient_of(page, request)
            for shown in answers(library, queue, messages, (left, right), sampling, skipped, recipient):
                texts = _cells(shown, lang)
                kept = gr.skip() if shown.state == "writing" else as_stored((left, right), question, texts)
                yield [_state_html(shown, lang), *texts, kept]
            yield ["", *texts, as_stored((left, right), question, texts)]
        except EyegraftError as error:  # it stays, where a toast would be gone before it is read
            yield [_alert(refusal_text(error, lang, library.visible)), *[gr.skip()] * 5]

    answer_event = question_input.submit(
        both,
        [question_input, *models, *settings],
        [state, *cells, stored.state],
        concurrency_limit=1,
        api_visibility="private",
        show_progress="hidden",  # `state` says more, in the language of the page
    )
    question_input.stop(
        lambda: "", None, state, cancels=[answer_event], api_visibility="private", show_progress="hidden"
    )
    _probe_table(page, library, queue, limits, sources, models, service)
    return tuple(models), partial(stored.restore_after, question=question_input, cells=cells, limits=limits)


def _settings(limits: Limits) -> list[gr.components.Component]:
    """How both models answer: the system prompt, the temperature, the longest answer, the seed."""
    with gr.Accordion(label("settings"), open=False):
        return [
            gr.Textbox("", label=label("system"), lines=2, max_length=limits.text),
            gr.Slider(0, 2, 0, step=0.05, label=label("temperature")),
            gr.Slider(1, limits.new_tokens, min(128, limits.new_tokens), step=1, label=label("new_tokens")),
            gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, label=label("seed")),
        ]


def _pane(library: ModelLibrary, side: str, chosen: str | None) -> Pane:
    with gr.Column():
        return Pane(
            gr.Dropdown(list(library), value=chosen, label=label(side), elem_id=f"{side}-weights"),
            gr.Textbox(label=label("answer"), lines=6, interactive=False, elem_id=f"{side}-answer"),
            gr.Textbox(label=label("author"), interactive=False, elem_id=f"{side}-author"),
        )


def answers(
    library: ModelLibrary,
    queue: GenerationQueue,
    messages: tuple[Message, ...],
    names: tuple[str, str],
    sampling: Sampling,
    skipped: str,
    recipient: Recipient = LOCAL_RECIPIENT,
) -> Iterator[Comparison]:
    """Yield the comparison as it grows, the left answer first.

    The answer of a text-only model to images is `skipped`.
    """
    shown = ["", "", "", ""]
    for side, name in enumerate(names):
        yield Comparison(side, "opening", tuple(shown))
        chat_model = library.open(name)
        shown[2 * side + 1] = _author(library, name)
        text_only = chat_model.cannot_see(messages)
        texts = iter([skipped])
        if not text_only:
            texts = queue.stream_text(chat_model, shown_frames(chat_model, messages), sampling, recipient)
        yield Comparison(side, "reading", tuple(shown))
        for answer in texts:
            shown[2 * side] = answer
            yield Comparison(side, "writing", tuple(shown))


def _author(library: ModelLibrary, name: str) -> str:
    """The weights of a model in words, without the folders above those of the models."""
    return library.visible(library.weights[name].describe())


def _state_html(shown: Comparison, lang: Language) -> str:
    """What is being done, for readers and screen readers."""
    model = LABELS[SIDES[shown.side]][lang == "zh"]
    return f'<p role="status">{escaped(text(shown.state, lang, model))}</p>'


def _alert(message: str) -> str:
    """Why there is no answer, for readers and screen readers."""
    return f'<p role="alert">{escaped(message)}</p>'


def _cells(shown: Comparison, lang: Language) -> list[str]:
    return [shown_author(cell, lang) if number % 2 else cell for number, cell in enumerate(shown.cells)]


def _probe_table(
    page: gr.Blocks,
    library: ModelLibrary,
    queue: GenerationQueue,
    limits: Limits,
    sources: Mapping[str, Source],
    models: list[gr.Dropdown],
    service: ServiceParts | None,
) -> None:
    """The probe questions below the panes, with the results as tables and files."""
    gr.Markdown(label("probes_about"))
    with gr.Row():
        own_name = gr.Textbox("", label=label("name"), max_length=100, elem_id="own-name", min_width=260)
        file = file_choice(page, sources, label("file"), "probe-file", service.first_file if service else None)
        start = gr.Button(label("run_probes"), variant="primary", elem_id="run-probes")
    hits = gr.HTML(elem_id="hits")
    all_answers = gr.HTML(elem_id="probe-table")
    with gr.Row():
        csv = gr.DownloadButton(label("csv"), visible=False)
        markdown = gr.DownloadButton(label("markdown"), visible=False)

    def run(name: str, path: str, left: str, right: str, request: gr.Request) -> Iterator[list[Any]]:
        with error_toasts(library.visible, language(request)):
            records = load_records(sources[path]) if path in sources else ()
            listed = [*probes.text_probes(name), *probes.image_probes(records)]
            chat_models = library.open(left), library.open(right)
            authors = _author(library, left), _author(library, right)
            done: list[probes.ProbeResult] = []
            for number, probe in enumerate(listed, 1):
                with queue.turn():
                    done += probes.ask(*chat_models, [probe], Sampling(max_new_tokens=PROBE_TOKENS))
                files = _files(done, authors, limits) if number == len(listed) else (gr.skip(), gr.skip())
                yield [*_tables(done, language(request)), *files]

    start.click(
        run,
        [own_name, file, *models],
        [hits, all_answers, csv, markdown],
        concurrency_limit=1,
        api_visibility="private",
    )


def _tables(results: list[probes.ProbeResult], lang: Language) -> tuple[str, str]:
    """Hits by kind of question, and all answers."""
    hits = probe_cells(probes.summary(results), lang)
    answers = probe_cells([result.cells() for result in results], lang)
    return table("hits", hits, lang), table("probes", answers, lang)


def _files(
    results: list[probes.ProbeResult], authors: tuple[str, str], limits: Limits
) -> tuple[gr.DownloadButton, gr.DownloadButton]:
    """The finished table as two downloads."""
    folder = new_download_folder(limits.uploads)
    contents = {"probes.csv": probes.as_csv(results, *authors), "probes.md": probes.as_markdown(results, *authors)}
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    csv, markdown = (gr.DownloadButton(value=str(folder / name), visible=True) for name in contents)
    return csv, markdown
