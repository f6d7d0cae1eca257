"""What is running and what ran, read from the run folders every two seconds."""

from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary
from demo.pages.i18n import language, say, skipped_text, state_text
from demo.pages.parts.chat_messages import told
from demo.pages.parts.curves import draw_curves
from demo.pages.parts.run_status import find_runs, read_run, stamp

EVERY = 2.0  # seconds


def runs_page(page: gr.Blocks, library: ModelLibrary) -> None:
    """Build the view of the runs into the current page."""
    root = library.root
    chosen = gr.Dropdown(label=say("run"), elem_id="run", interactive=True)
    state = gr.Markdown(elem_id="run-state")
    curves = gr.Plot(show_label=False, elem_id="curves")
    with gr.Accordion(say("samples"), open=False):
        samples = gr.Dataframe(headers=["step", "question", "answer"], interactive=False, wrap=True)
    with gr.Accordion(say("report"), open=False):
        report = gr.Dataframe(headers=["figure", "value"], interactive=False)
    tail = gr.Textbox(label=say("log"), lines=10, max_lines=20, interactive=False, elem_id="run-log")
    left_out = gr.Markdown(elem_id="left-out", visible=False)
    seen = gr.State([])
    outputs = [seen, state, curves, samples, report, tail]

    def names(now: str | None, request: gr.Request) -> list[Any]:
        """The runs that are there; the one that is being looked at stays. And what is left out."""
        found, skipped = find_runs(root)
        text = skipped_text(library.skipped | skipped, language(request))
        chosen = gr.Dropdown(found, value=now if now in found else next(iter(found), None))
        return [chosen, gr.Markdown(text, visible=bool(text))]

    def look(name: str | None, seen: list[Any], request: gr.Request) -> list[Any]:
        folder = root / (name or "")
        if not name or name not in find_runs(root)[0]:  # only folders that we listed ourselves are read
            return [gr.skip()] * len(outputs)
        now = [name, *stamp(folder)]
        with told():
            view = read_run(folder)
        text = state_text(view.state, language(request), view.odd_rows)
        if now == seen:  # only time went by: plots that are drawn again would flicker
            return [seen, text, *[gr.skip()] * (len(outputs) - 2)]
        return [now, text, draw_curves(view.rows), view.samples, view.report, view.tail]

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.Timer(EVERY).tick(look, [chosen, seen], outputs, **quiet)
    chosen.change(look, [chosen, seen], outputs, **quiet)
    page.load(names, chosen, [chosen, left_out], **quiet)
    gr.Timer(5 * EVERY).tick(names, chosen, [chosen, left_out], **quiet)
