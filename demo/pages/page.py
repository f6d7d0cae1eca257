"""The page: chat, compare, runs and data, put together."""

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
from demo.pages.i18n import I18N, say
from demo.pages.page_gate import PageGate
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

SWEEP = 60  # seconds: how often old uploads are deleted
# The reader's own fonts: Gradio's themes would fetch theirs from Google.
FONT = ["system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]
CSS = """
footer { display: none !important; }
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
button:is([title="Share"], [title="分享"]) { display: none !important; }  /* would send it to another site */
.prose :is(form, input, button, select, textarea) { display: none !important; }
.prose [style] { position: static !important; }  /* what a model writes neither asks for input nor lies over the page */
"""


def build_page(library: ModelLibrary, queue: GenerationQueue, limits: Limits, sources: dict[str, Source]) -> gr.Blocks:
    """All four pages. `sources` are the data files that may be looked at."""
    examples = _examples(sources.values())
    with gr.Blocks(title="Eyegraft", analytics_enabled=False, delete_cache=(SWEEP, UPLOAD_LIFETIME)) as page:
        with gr.Tab(say("chat"), id="chat"):
            choices = [chat_page(page, library, queue, limits, examples)]
        with gr.Tab(say("compare"), id="compare"):
            choices += compare_page(page, library, queue, limits, sources)
        with gr.Tab(say("runs"), id="runs"):
            runs_page(page, library)
        with gr.Tab(say("data"), id="data"):
            choices.append(data_page(library, sources))

        def refresh(*chosen: str | None) -> list[gr.Dropdown]:
            """What was trained since the page was built can be chosen too; what is chosen stays."""
            names = library.refresh()
            return [gr.Dropdown(names, value=name if name in names else next(iter(names), None)) for name in chosen]

        page.load(refresh, choices, choices, api_visibility="private", show_progress="hidden")
    page.queue(max_size=2 * limits.waiting, default_concurrency_limit=4, api_open=False)
    built: gr.Blocks = page
    return built


def _examples(sources: Iterable[Source]) -> list[Conversation]:
    """Records of the first file that begins with sound ones: broken files are there to be checked."""
    for source in sources:
        try:
            return list(islice(read(source, Path()), EXAMPLES))
        except EyegraftError:
            continue
    return []


def mount(app: FastAPI, page: gr.Blocks, limits: Limits) -> None:
    """Put the page at / of an application whose own routes stay as they are."""
    # gradio 6.31 checks that a file which a visitor names was uploaded only where `launch` was called, which mounting
    # does not (processing_utils._check_allowed): without this line any file of the machine could be named.
    page.has_launched = True
    page.state_session_capacity = limits.sessions
    # The innermost middleware: the guard has accepted the request, and only the application comes after it.
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
