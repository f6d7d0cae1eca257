"""One question, two answers side by side; a list of questions, one table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo import probes
from demo.model_library import ModelLibrary
from demo.pages.chat import SEEDS, question_box
from demo.pages.i18n import say
from demo.pages.parts.chat_messages import QuestionInput, conversation, told
from demo.pages.parts.records import load_records
from demo.server.generation_queue import LOCAL_CLIENT, Client, GenerationQueue
from demo.server.limits import DEFAULT, Limits
from demo.server.uploads import new_download_folder
from demo.server.visitors import client_of
from llm.chat.sampling import Sampling
from llm.config.schema import Source
from llm.formats.conversation import Message

BLIND = "(sees no pictures: not asked)"
PROBE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Pane:
    """One side: which weights, what they said, and which weights exactly said it."""

    weights: gr.Dropdown
    answer: gr.Textbox
    author: gr.Textbox


def compare_page(
    page: gr.Blocks, library: ModelLibrary, queue: GenerationQueue, limits: Limits, sources: dict[str, Source]
) -> tuple[gr.Dropdown, ...]:
    """Build the comparison into the current page; returns the choices of weights."""
    asked = question_box("compare-question", say("ask_both"))
    with gr.Row():
        panes = [_pane(library, side, number) for number, side in enumerate(("left", "right"))]
    with gr.Accordion(say("settings"), open=False):
        system = gr.Textbox("", label=say("system"), lines=2, max_length=limits.text)
        temperature = gr.Slider(0, 2, 0, step=0.05, label=say("temperature"))
        new_tokens = gr.Slider(1, limits.new_tokens, 128, step=1, label=say("new_tokens"))
        seed = gr.Number(0, precision=0, minimum=0, maximum=SEEDS, label=say("seed"))
    outputs = [part for pane in panes for part in (pane.answer, pane.author)]
    names = [pane.weights for pane in panes]

    def both(
        question: QuestionInput,
        left: str,
        right: str,
        system: str,
        temperature: float,
        new_tokens: float,
        seed: float,
        request: gr.Request,
    ) -> Iterator[list[str]]:
        with told():
            messages = conversation([], question, system, limits)
            sampling = Sampling(temperature, max_new_tokens=int(new_tokens), seed=int(seed))
            yield from answers(library, queue, messages, (left, right), sampling, client_of(page, request))

    answering = asked.submit(
        both,
        [asked, *names, system, temperature, new_tokens, seed],
        outputs,
        concurrency_limit=1,
        api_visibility="private",
    )
    asked.stop(None, cancels=[answering])
    _probe_table(library, queue, sources, names)
    return tuple(names)


def _pane(library: ModelLibrary, side: str, number: int) -> Pane:
    names = list(library)
    first = names[min(number, len(names) - 1)] if names else None
    with gr.Column():
        return Pane(
            gr.Dropdown(names, value=first, label=say(side), elem_id=f"{side}-weights"),
            gr.Textbox(label=say("answer"), lines=6, interactive=False, elem_id=f"{side}-answer"),
            gr.Textbox(show_label=False, container=False, interactive=False, elem_id=f"{side}-author"),
        )


def answers(
    library: ModelLibrary,
    queue: GenerationQueue,
    messages: tuple[Message, ...],
    names: tuple[str, str],
    sampling: Sampling,
    client: Client = LOCAL_CLIENT,
) -> Iterator[list[str]]:
    """[left answer, left author, right answer, right author] as both grow, the left one first."""
    shown = ["", "", "", ""]
    for side, name in enumerate(names):
        chat_model = library.open(name)
        shown[2 * side + 1] = library.weights[name].describe()
        said = (
            iter([BLIND])
            if chat_model.cannot_see(messages)
            else queue.stream_text(chat_model, messages, sampling, client)
        )
        for text in said:
            shown[2 * side] = text
            yield list(shown)


def _probe_table(
    library: ModelLibrary, queue: GenerationQueue, sources: dict[str, Source], names: list[gr.Dropdown]
) -> None:
    """The probes below the panes, with the table as files."""
    gr.Markdown(say("probes_about"))
    with gr.Row():
        own_name = gr.Textbox("", label=say("name"), max_length=100, elem_id="own-name")
        file = gr.Dropdown(list(sources), value=next(iter(sources), None), label=say("file"))
        start = gr.Button(say("run_probes"), variant="primary", elem_id="run-probes")
    hits = gr.Dataframe(headers=["kind", "picture", "left", "right"], interactive=False, elem_id="hits")
    table = gr.Dataframe(headers=[*probes.HEADERS], interactive=False, wrap=True, elem_id="probe-table")
    with gr.Row():
        csv = gr.DownloadButton(say("csv"), interactive=False)
        markdown = gr.DownloadButton(say("markdown"), interactive=False)

    def run(name: str, path: str, left: str, right: str) -> Iterator[list[Any]]:
        with told():
            records = load_records(sources[path]) if path in sources else ()
            listed = [*probes.text_probes(name), *probes.image_probes(records)]
            chat_models = library.open(left), library.open(right)
            authors = library.weights[left].describe(), library.weights[right].describe()
            done: list[probes.ProbeResult] = []
            for number, probe in enumerate(listed, 1):
                with queue.turn():
                    done += probes.ask(*chat_models, [probe], Sampling(max_new_tokens=PROBE_TOKENS))
                files = _files(done, authors) if number == len(listed) else (gr.skip(), gr.skip())
                yield [probes.summary(done), [one.row() for one in done], *files]

    start.click(
        run, [own_name, file, *names], [hits, table, csv, markdown], concurrency_limit=1, api_visibility="private"
    )


def _files(asked: list[probes.ProbeResult], authors: tuple[str, str]) -> tuple[gr.DownloadButton, gr.DownloadButton]:
    """The finished table as two files to fetch."""
    folder = new_download_folder(DEFAULT.uploads)
    contents = {"probes.csv": probes.as_csv(asked, *authors), "probes.md": probes.as_markdown(asked, *authors)}
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    csv, markdown = (gr.DownloadButton(value=str(folder / name), interactive=True) for name in contents)
    return csv, markdown
