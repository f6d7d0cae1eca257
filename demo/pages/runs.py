"""The Runs page: running and finished runs, read from their folders every two seconds."""

from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary
from demo.pages.i18n import headers, label, language, skipped_text, state_text
from demo.pages.parts.chat_messages import error_toasts
from demo.pages.parts.choices import update_choices
from demo.pages.parts.curves import draw_curves
from demo.pages.parts.run_status import find_runs, read_run, stamp

REFRESH_SECONDS = 2.0


def runs_page(page: gr.Blocks, library: ModelLibrary) -> None:
    """Add the view of the runs to the page under construction."""
    root = library.root
    chosen = gr.Dropdown(label=label("run"), elem_id="run", interactive=True)
    state = gr.Markdown(elem_id="run-state")
    curves = gr.Plot(show_label=False, elem_id="curves")
    with gr.Accordion(label("samples"), open=False):
        samples = gr.Dataframe(interactive=False, wrap=True)
    with gr.Accordion(label("report"), open=False):
        report = gr.Dataframe(interactive=False)
    tail = gr.Textbox(label=label("log"), lines=10, max_lines=20, interactive=False, elem_id="run-log")
    left_out = gr.Markdown(elem_id="left-out", visible=False)
    shown = gr.State([])  # name and stamp of the run as it is shown
    outputs = [shown, state, curves, samples, report, tail]

    def refresh_list(current: str | None, request: gr.Request) -> list[Any]:
        """The available runs, with the current one still chosen; and the unreadable folders."""
        found, skipped = find_runs(root)
        reasons = {name: library.visible(reason) for name, reason in (library.skipped | skipped).items()}
        skipped_lines = skipped_text(reasons, language(request))
        return [update_choices(found, current), gr.Markdown(skipped_lines, visible=bool(skipped_lines))]

    def refresh_run(name: str | None, shown: list[Any], request: gr.Request) -> list[Any]:
        folder = root / (name or "")
        if not name or name not in find_runs(root)[0]:  # the browser may send any name: only listed folders are read
            return [gr.skip()] * len(outputs)
        now = [name, *stamp(folder)]
        with error_toasts(library.visible):
            view = read_run(folder)
        lang = language(request)
        status = state_text(view.state, lang, view.skipped_lines)
        if now == shown:  # nothing but the time has changed: plots would flicker when drawn again
            return [shown, status, *[gr.skip()] * (len(outputs) - 2)]
        answers = gr.Dataframe(view.samples, headers=headers("samples", lang))
        metrics = gr.Dataframe(view.report, headers=headers("report", lang))
        return [now, status, draw_curves(view.lines), answers, metrics, view.tail]

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.Timer(REFRESH_SECONDS).tick(refresh_run, [chosen, shown], outputs, **quiet)
    chosen.change(refresh_run, [chosen, shown], outputs, **quiet)
    page.load(refresh_list, chosen, [chosen, left_out], **quiet)
    gr.Timer(5 * REFRESH_SECONDS).tick(refresh_list, chosen, [chosen, left_out], **quiet)
