"""The Data page: random records as the model reads them, or the check of a complete file."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary
from demo.pages.check import check_page
from demo.pages.i18n import label, language, record_text, text
from demo.pages.parts.choices import file_choice
from demo.pages.parts.escaping import escaped, escaped_markdown
from demo.pages.parts.records import IMAGE, SUPERVISED, RecordView, sample_records, view_record
from demo.pages.service_parts import ServiceParts
from demo.server.limits import Limits
from llm.config.schema import Source
from llm.errors import EyegraftError
from llm.i18n.translate import Language, translated
from vlm.vision.images import read_image

SHOWN = 3  # records at a time
COLOURS = {SUPERVISED: "#16a34a", IMAGE: "#2563eb"}


def data_page(
    page: gr.Blocks,
    library: ModelLibrary,
    limits: Limits,
    sources: Mapping[str, Source],
    service: ServiceParts | None = None,
) -> gr.Dropdown:
    """Add the data view to the page under construction; returns the dropdown of the model that tokenizes records."""
    gr.Markdown(label("data_heading"), elem_classes="eg-hidden")
    with gr.Row():
        file = file_choice(page, sources, label("file"), "data-file", service.first_file if service else None)
        names = list(library)
        model = gr.Dropdown(names, value=names[0] if names else None, label=label("model"))
        with gr.Column(min_width=200):
            draw = gr.Button(label("draw"), variant="primary", elem_id="draw")
            check = gr.Button(label("check"), elem_id="check")
            if service is not None:
                _train_link(page, file, service)
    seed = gr.State(0)
    outputs: list[gr.components.Component] = []
    hint = gr.Markdown(label("data_begins"), elem_id="data-begins")
    with gr.Column(visible=False) as records:
        for _ in range(SHOWN):
            with gr.Column():
                outputs += [
                    gr.Markdown(padding=True),
                    _gallery(),
                    gr.HighlightedText(label=label("marked"), color_map=COLOURS, show_inline_category=False),
                ]
    checks = check_page(library, limits, file, check, draw, sources)

    def show_records(path: str | None, name: str | None, seed: int, request: gr.Request) -> list[Any]:
        if path is None or path not in sources:
            return [seed, *[gr.skip()] * (2 + len(outputs))]
        lang = language(request)
        try:
            cells = _sample_cells(library, sources[path], path, name, seed, lang)
        except EyegraftError as error:  # it stays, where a toast would be gone before it is read
            reason = escaped_markdown(translated(library.visible(str(error)), lang))
            nothing = [gr.Markdown(reason, visible=True), gr.Column(visible=False)]
            return [seed, *nothing, *[gr.skip()] * len(outputs)]
        return [seed + 1, gr.skip(), gr.skip(), *cells, *[gr.skip()] * (len(outputs) - len(cells))]

    def only(shown: gr.Column) -> list[Any]:
        """Show one of the two views: the second would be below the visible part of the page."""
        return [gr.Markdown(visible=False), *(gr.Column(visible=part is shown) for part in (records, checks))]

    drawn = draw.click(lambda: only(records), None, [hint, records, checks], api_visibility="private")
    check.click(lambda: only(checks)[:2], None, [hint, records], api_visibility="private")
    drawn.then(
        show_records,
        [file, model, seed],
        [seed, hint, records, *outputs],
        api_visibility="private",
        concurrency_limit=1,
    )
    return model


def _sample_cells(
    library: ModelLibrary, source: Source, path: str, name: str | None, seed: int, lang: Language
) -> list[Any]:
    """What is shown of some random records; `path` is the file's name on the page. Raises EyegraftError."""
    encoder = library.open(name).encoder
    views = [view_record(record, encoder) for record in sample_records(source, SHOWN, seed)]
    named = [(view, library.visible(record_text(view, lang).replace(source.path, path))) for view in views]
    return [cell for view, said in named for cell in _cells(view, said)]


def _train_link(page: gr.Blocks, file: gr.Dropdown, service: ServiceParts) -> None:
    """A link to the Train page with the chosen file."""
    link = gr.HTML(elem_id="train-on")

    def linked(name: str | None, request: gr.Request) -> str:
        address = service.train_address(name) if name else ""
        return f'<a href="{escaped(address)}">{escaped(text("train_on", language(request)))}</a>' if address else ""

    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    for event in (page.load, file.change):
        event(linked, file, link, **quiet)


def _gallery() -> gr.Gallery:
    return gr.Gallery(
        label=label("images"), show_label=False, columns=8, height=140, fit_columns=False, buttons=[], visible=False
    )


def _cells(record: RecordView, said: str) -> list[Any]:
    # Images are decoded here: gradio does not serve files from outside the folder it was started in.
    images = gr.Gallery(value=[read_image(image) for image in record.images], visible=bool(record.images))
    return [said, images, record.spans]
