"""The complete page: Chat, Compare, Runs and Data."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from demo.model_library import ModelLibrary
from demo.pages.chat import EXAMPLES, chat_page
from demo.pages.compare import compare_page
from demo.pages.data import data_page
from demo.pages.i18n import I18N, label
from demo.pages.page_gate import PageGate
from demo.pages.parts.choices import update_choices
from demo.pages.parts.finding_cards import CSS as CARDS
from demo.pages.runs import runs_page
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import Limits
from demo.server.uploads import UPLOAD_LIFETIME
from demo.server.visitors import Visitors
from llm.config.schema import Source
from llm.errors import EyegraftError
from llm.formats.conversation import Conversation
from llm.formats.readers import read

SWEEP_SECONDS = 60  # how often old uploads are deleted
# System fonts: gradio's themes would fetch fonts from Google.
FONT = ["system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]
CSS = """
footer { display: none !important; }
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
button:is([title="Share"], [title="分享"]) { display: none !important; }  /* would post the chat to another site */
.prose :is(form, input, button, select, textarea) { display: none !important; }
.prose [style] { position: static !important; }  /* an answer cannot show forms or cover the page */
"""


def build_page(library: ModelLibrary, queue: GenerationQueue, limits: Limits, sources: dict[str, Source]) -> gr.Blocks:
    """Build all four pages. `sources` are the data files that visitors may view."""
    examples = _examples(sources.values())
    with gr.Blocks(title="Eyegraft", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, UPLOAD_LIFETIME)) as page:
        with gr.Tab(label("chat"), id="chat"):
            choices = [chat_page(page, library, queue, limits, examples)]
        with gr.Tab(label("compare"), id="compare"):
            choices += compare_page(page, library, queue, limits, sources)
        with gr.Tab(label("runs"), id="runs"):
            runs_page(page, library)
        with gr.Tab(label("data"), id="data"):
            choices.append(data_page(library, limits, sources))

        def refresh(*chosen: str | None) -> list[gr.Dropdown]:
            """List the models that exist now; what is chosen stays chosen."""
            names = library.refresh()
            return [update_choices(names, name) for name in chosen]

        page.load(refresh, choices, choices, api_visibility="private", show_progress="hidden")
    page.queue(max_size=2 * limits.waiting, default_concurrency_limit=4, api_open=False)
    assert isinstance(page, gr.Blocks)  # gradio does not annotate `__enter__`
    return page


def _examples(sources: Iterable[Source]) -> list[Conversation]:
    """The first records of the first readable file; files with errors are skipped."""
    for source in sources:
        try:
            return list(islice(read(source, Path()), EXAMPLES))
        except EyegraftError:
            continue
    return []


def mount(app: FastAPI, page: gr.Blocks, limits: Limits) -> None:
    """Mount the page at / of an application; the application's own routes take precedence."""
    # gradio 6.31 checks that a named file is an upload only after `launch` (processing_utils._check_allowed), which
    # mounting does not call: without this line a visitor could name any file of the machine.
    page.has_launched = True
    page.state_session_capacity = limits.sessions
    # The innermost middleware: it runs after the guard and directly before the application.
    visitors = Visitors(page, limits)
    app.user_middleware.append(Middleware(PageGate, page=page, limits=limits, visitors=visitors))
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=limits.image.max_bytes,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        i18n=I18N,
        theme=gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=FONT, font_mono=MONO),
        css=CSS + CARDS,
    )
