"""The complete page: Chat, Compare, Runs and Data."""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.events import Dependency
from starlette.middleware import Middleware

from demo.model_library import ModelLibrary
from demo.pages.chat import EXAMPLES, chat_page
from demo.pages.compare import compare_page
from demo.pages.compare_store import stored_comparison
from demo.pages.data import data_page
from demo.pages.i18n import I18N, OF_GRADIO, label, language, missing_text
from demo.pages.language import LanguageChoice, is_root
from demo.pages.page_gate import PageGate
from demo.pages.parts.answer_boxes import CSS as BOXES
from demo.pages.parts.choices import kept_choice, opened_choices
from demo.pages.parts.curves import CSS as CHARTS
from demo.pages.parts.finding_cards import CSS as CARDS
from demo.pages.parts.html_table import CSS as TABLES
from demo.pages.parts.kept_choices import asked_and_kept, keep
from demo.pages.parts.model_names import shown_names
from demo.pages.runs import CSS as LOG
from demo.pages.runs import runs_page
from demo.pages.service_parts import ServiceParts
from demo.pages.theme import ThemeChoice
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import Limits
from demo.server.uploads import UPLOAD_LIFETIME
from demo.server.visitors import Visitors
from llm.config.schema import Source
from llm.errors import EyegraftError
from llm.formats.conversation import Conversation
from llm.formats.readers import read

SWEEP_SECONDS = 60  # how often old uploads are deleted
BASE = "base"  # in an address: what a model was trained from
CHOSEN = "eyegraft-models"  # under which the browser stores the chosen models
# System fonts: gradio's themes would fetch fonts from Google.
FONT = ["system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]
CSS = """
footer { display: none !important; }
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
button:is([title="Share"], [title="分享"]) { display: none !important; }  /* would post the chat to another site */
.prose :is(form, input, button, select, textarea) { display: none !important; }
.prose [style] { position: static !important; }  /* an answer cannot show forms or cover the page */
.eg-note { padding: 12px 16px !important; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.eg-note .eg-note { padding: 0 !important; border: 0; }  /* gradio gives the class to both of its elements */
#boxes:not(:has(figure)) { display: none; }
.eg-hidden { position: absolute !important; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
/* there is something to stop only while a question is being answered */
.gradio-container:not(:has(#compare-state [role=status])) #compare-question .stop-button { display: none; }
/* gradio measures an empty box while its tab is not shown, and makes it as high as a placeholder of no width */
:is(#question, #compare-question) textarea:placeholder-shown { max-height: 3.6em; }
/* the arrow of a dropdown is drawn over the end of a long name, and its list is as narrow as the box */
.gradio-container .wrap-inner input { padding-inline-end: 28px; text-overflow: ellipsis; }
@media (max-width: 640px) {
  ul.options { left: 8px !important; right: 8px !important; width: auto !important; max-width: none !important; }
  ul.options li { overflow-wrap: anywhere; }
}
/* gradio's blue of a selected tab has a contrast of 3.7 on white */
button[role=tab][aria-selected=true] { color: var(--link-text-color) !important; }
"""
# What gradio's frontend leaves out for screen readers: the label of a question's box is beside it, but not tied to the
# text field; a button with a text has another name; an empty image has a name, but no role that may have one.
# On a Chinese page, what gradio has in English only: texts for screen readers, and the state of an event.
NAME_FIELDS = """() => {
  const CHINESE = TEXTS_IN_CHINESE;
  const name = () => {
    document.querySelectorAll('[role=group] textarea:not([aria-label])').forEach(field => {
      const label = field.closest('[role=group]').querySelector('[data-testid=block-info]');
      if (label && label.textContent.trim()) field.setAttribute('aria-label', label.textContent.trim());
    });
    document.querySelectorAll('button.submit-button[aria-label]').forEach(button => {
      if (button.textContent.trim()) button.removeAttribute('aria-label');
    });
    document.querySelectorAll('div.empty[aria-label]:not([role])').forEach(empty => empty.setAttribute('role', 'img'));
    if (!navigator.language.startsWith('zh')) return;
    for (const key of ['aria-label', 'title']) document.querySelectorAll(`[${key}]`).forEach(part => {
      const chinese = CHINESE[part.getAttribute(key)];
      if (chinese) part.setAttribute(key, chinese);
    });
    const states = document.querySelectorAll('.progress-text, .meta-text, .meta-text-center');
    states.forEach(part => part.childNodes.forEach(node => {
      const said = node.nodeType === Node.TEXT_NODE ? node.data : '';
      const chinese = said.replace('processing |', '正在处理 |').replace('queue: ', '排队：');
      if (chinese !== said) node.data = chinese;
    }));
  };
  new MutationObserver(name).observe(document.body, {
    childList: true, subtree: true, attributes: true, attributeFilter: ['aria-label', 'title'],
  });
  name();
}"""


def theme() -> gr.themes.Base:
    """System fonts, and colours whose texts have a contrast of 4.5 or more on light and on dark pages."""
    base = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=FONT, font_mono=MONO)
    return base.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_label_text_color="*neutral_700",
        block_info_text_color="*neutral_600",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_400",
    )


def build_page(
    library: ModelLibrary,
    queue: GenerationQueue,
    limits: Limits,
    sources: Mapping[str, Source],
    service: ServiceParts | None = None,
) -> gr.Blocks:
    """Build all four pages. `sources` are the data files that visitors may view.

    In a `service` it has no runs, which the service's pages have, and only the examples that the service chooses:
    images of examples are copied to where the page serves files from, and a client of the service wrote the paths.
    """
    alone = service is None
    examples = _examples(sources.values()) if alone else []
    with gr.Blocks(title="Eyegraft", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, UPLOAD_LIFETIME)) as page:
        gr.Markdown("# Eyegraft", elem_classes="eg-hidden")
        stored = stored_comparison(service)
        with gr.Tab(label("chat"), id="chat", elem_id="tab-chat"):
            gr.Markdown(label("chat_heading"), elem_classes="eg-hidden")
            notes = [gr.HTML(visible=False, elem_classes="eg-note", elem_id="no-model-chat")]
            model, restore_after = chat_page(page, library, queue, limits, examples, service)
            choices = [model]
        with gr.Tab(label("compare"), id="compare", elem_id="tab-compare"):
            notes.append(gr.HTML(visible=False, elem_classes="eg-note", elem_id="no-model-compare"))
            both, restore_comparison_after = compare_page(page, library, queue, limits, sources, stored, service)
            choices += both
        if alone:
            with gr.Tab(label("runs"), id="runs"):
                runs_page(page, library)
        with gr.Tab(label("data"), id="data", elem_id="tab-data"):
            choices.append(data_page(page, library, limits, sources, service))
        opened = gr.State([])
        refreshed = _refresh_choices(page, library, choices, opened)
        restore_after(refreshed)
        restore_comparison_after(refreshed, opened)
        _note_missing_models(refreshed, library, notes, service)
    page.queue(max_size=limits.events, default_concurrency_limit=4, api_open=False)
    assert isinstance(page, gr.Blocks)  # gradio does not annotate `__enter__`
    return page


def _refresh_choices(
    page: gr.Blocks, library: ModelLibrary, choices: list[gr.Dropdown], opened: gr.State
) -> Dependency:
    """List the models that exist when the page is loaded; `choices`: of the chat, of both sides of Compare, of Data.

    Chat opens on the newest model, Compare on it and its base; what a visitor has chosen stays chosen.
    `?model=A` chooses one for the chat; `?model=A&against=B` compares two as well, and `against=base` A with its base.
    A page that is loaded again has the choices that it had. `opened` gets those of both sides of Compare.
    """
    texts = [gr.Textbox(visible=False) for _ in range(3)]
    built = [choice.value for choice in choices]

    def refresh(
        wanted: str | None, against: str | None, kept: str | None, request: gr.Request, *chosen: str | None
    ) -> list[Any]:
        names, first = shown_names(library.refresh(), language(request)), _opened_first(library)
        if kept:
            values = [one if one in names else best for one, best in zip(chosen, first, strict=True)]
            return [*(kept_choice(names, one) for one in values), values[1:3]]
        updates = [opened_choices(names, *three) for three in zip(chosen, built, first, strict=True)]
        other = library.base_of(wanted) if wanted and against == BASE else against
        asked = ([wanted, wanted, other] if other in names else [wanted]) if wanted in names else []
        updates[: len(asked)] = [kept_choice(names, one) for one in asked]
        return [*updates, [*asked, *first[len(asked) :]][1:3]]

    loaded = page.load(
        refresh,
        [*texts, *choices],
        [*choices, opened],
        js=asked_and_kept(CHOSEN, "model", "against"),
        api_visibility="private",
        show_progress="hidden",
    )
    quiet: dict[str, Any] = {"js": keep(CHOSEN), "queue": False, "show_progress": "hidden", "api_visibility": "private"}
    for choice in choices:
        choice.input(None, choices, None, **quiet)
    return loaded


def _note_missing_models(
    loaded: Dependency, library: ModelLibrary, notes: list[gr.HTML], service: ServiceParts | None
) -> None:
    """Say what to do next where nothing has been trained; without a service, where there is no model at all."""

    def note(request: gr.Request) -> list[gr.HTML]:
        trained = any(weights.checkpoint for weights in library.weights.values())
        missing = "" if trained else missing_text(bool(library), service is not None, language(request))
        return [gr.HTML(missing, visible=bool(missing))] * len(notes)

    loaded.then(note, None, notes, queue=False, show_progress="hidden", api_visibility="private")


def _opened_first(library: ModelLibrary) -> list[str | None]:
    """What the choices of Chat, of both sides of Compare and of Data are at first: the newest, its base and it."""
    newest = next(iter(library), None)
    return [newest, *library.comparison(), newest]


def _examples(sources: Iterable[Source]) -> list[Conversation]:
    """The first records of the first readable file; files with errors are skipped."""
    for source in sources:
        try:
            return list(islice(read(source, Path()), EXAMPLES))
        except EyegraftError:
            continue
    return []


def mount(
    app: FastAPI,
    page: gr.Blocks,
    limits: Limits,
    own: Callable[[str], bool] = lambda path: False,
    pages: Callable[[str], bool] = is_root,
) -> None:
    """Mount the page at / of an application; the application's own routes take precedence.

    `own`: whether a path beside those of the API is such a route; `pages`: whether a person opens it.
    """
    # gradio 6.31 checks that a named file is an upload only after `launch` (processing_utils._check_allowed), which
    # mounting does not call: without this line a visitor could name any file of the machine.
    page.has_launched = True
    page.state_session_capacity = limits.sessions
    # The innermost middleware: it runs after the guard and directly before the application.
    visitors = Visitors(page, limits)
    app.user_middleware.append(Middleware(ThemeChoice, pages=pages))
    app.user_middleware.append(Middleware(LanguageChoice, pages=pages))
    app.user_middleware.append(Middleware(PageGate, page=page, limits=limits, visitors=visitors, own=own))
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
        theme=theme(),
        js=NAME_FIELDS.replace("TEXTS_IN_CHINESE", json.dumps(OF_GRADIO, ensure_ascii=False)),
        css=CSS + BOXES + CARDS + CHARTS + TABLES + LOG,
    )
