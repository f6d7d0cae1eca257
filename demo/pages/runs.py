"""The Runs page: running and finished runs, read from their folders every two seconds."""

from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary
from demo.pages.i18n import captions, label, language, skipped_text, state_text, table, text
from demo.pages.parts.chat_messages import error_toasts
from demo.pages.parts.choices import update_choices
from demo.pages.parts.curves import curves_html
from demo.pages.parts.escaping import escaped
from demo.pages.parts.run_status import find_runs, read_run, stamp
from llm.i18n.translate import Language

REFRESH_SECONDS = 2.0
CSS = """
/* column-reverse: the box opens at its end and stays there when lines are added */
.eg-log { display: flex; flex-direction: column-reverse; max-height: 340px; overflow: auto; padding: 10px 12px;
  border: 1px solid var(--border-color-primary); border-radius: 8px; background: var(--background-fill-secondary); }
.eg-log pre { margin: 0; font-family: var(--font-mono); font-size: 0.85em; white-space: pre-wrap; }
"""


def runs_page(page: gr.Blocks, library: ModelLibrary) -> None:
    """Add the view of the runs to the page under construction."""
    root = library.root
    gr.Markdown(label("runs_heading"), elem_classes="eg-hidden")
    chosen = gr.Dropdown(label=label("run"), elem_id="run", interactive=True)
    state = gr.Markdown(elem_id="run-state")
    curves = gr.HTML(elem_id="curves")
    with gr.Accordion(label("report"), open=False, elem_id="run-report") as report_part:
        report = gr.HTML()
    with gr.Accordion(label("samples"), open=False):
        samples = gr.HTML()
    tail = gr.HTML(elem_id="run-log")
    left_out = gr.Markdown(elem_id="left-out", visible=False)
    shown = gr.State([])  # name and stamp of the run as it is shown, and the language
    by_hand = gr.State(False)  # whether the visitor has chosen the run
    outputs = [shown, state, curves, report_part, samples, report, tail]

    def refresh_list(current: str | None, by_hand: bool, request: gr.Request) -> list[Any]:
        """The available runs: the newest is chosen until the visitor chooses one; and the unreadable folders."""
        found, skipped = find_runs(root)
        reasons = {name: library.visible(reason) for name, reason in (library.skipped | skipped).items()}
        skipped_lines = skipped_text(reasons, language(request))
        choices = update_choices(found, current if by_hand or current in found[:1] else None)
        return [choices, gr.Markdown(skipped_lines, visible=bool(skipped_lines))]

    def refresh_run(name: str | None, shown: list[Any], request: gr.Request) -> list[Any]:
        folder = root / (name or "")
        if not name or name not in find_runs(root)[0]:  # the browser may send any name: only listed folders are read
            return [gr.skip()] * len(outputs)
        lang = language(request)
        now = [name, lang, *stamp(folder)]
        with error_toasts(library.visible, lang):
            view = read_run(folder)
        status = state_text(view.state, lang, view.skipped_lines)
        if now == shown:  # nothing but the time has changed: what the visitor reads stays in its place
            return [shown, status, *[gr.skip()] * (len(outputs) - 2)]
        drawn = curves_html(view.lines, captions(lang))
        # What has no curves, an evaluation or a pipeline, shows its figures instead.
        found = bool(view.report)
        same = shown[:1] == [name]
        figures = gr.Accordion(visible=found) if same else gr.Accordion(visible=found, open=not drawn)
        return [
            now,
            status,
            gr.HTML(drawn, visible=bool(drawn)),
            figures,
            table("samples", view.samples, lang),
            table("report", view.report, lang),
            _log(view.tail, lang),
        ]

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.Timer(REFRESH_SECONDS).tick(refresh_run, [chosen, shown], outputs, **quiet)
    chosen.input(lambda: True, None, by_hand, **quiet)
    chosen.change(refresh_run, [chosen, shown], outputs, **quiet)
    page.load(refresh_list, [chosen, by_hand], [chosen, left_out], **quiet)
    gr.Timer(5 * REFRESH_SECONDS).tick(refresh_list, [chosen, by_hand], [chosen, left_out], **quiet)


def _log(lines: str, lang: Language) -> str:
    """The latest lines, scrolled to the last; empty without any."""
    name = escaped(text("log_lines", lang))
    body = f'<div class="eg-log" tabindex="0" role="log" aria-label="{name}"><pre>{escaped(lines)}</pre></div>'
    return f"<h3>{name}</h3>{body}" if lines else ""
