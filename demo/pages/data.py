"""The data files: records drawn at random as the model reads them, or the whole file checked."""

from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary
from demo.pages.check import check_page
from demo.pages.i18n import language, record_text, say
from demo.pages.parts.chat_messages import told
from demo.pages.parts.records import IMAGE, LEARNED, RecordView, sample_records, view_record
from llm.config.schema import Source
from vlm.vision.images import read_image

DRAWN = 3
COLOURS = {LEARNED: "#16a34a", IMAGE: "#2563eb"}


def data_page(library: ModelLibrary, sources: dict[str, Source]) -> gr.Dropdown:
    """Build the view of the data into the current page; returns the choice of weights, whose tokenizer reads it."""
    with gr.Row():
        file = gr.Dropdown(list(sources), value=next(iter(sources), None), label=say("file"), elem_id="data-file")
        names = list(library)
        weights = gr.Dropdown(names, value=names[0] if names else None, label=say("weights"))
        with gr.Column(min_width=200):
            again = gr.Button(say("draw"), variant="primary", elem_id="draw")
            check = gr.Button(say("check"), elem_id="check")
    seed = gr.State(0)
    outputs: list[gr.components.Component] = []
    with gr.Column() as records:
        for _ in range(DRAWN):
            with gr.Column():
                outputs += [
                    gr.Markdown(padding=True),
                    gr.Gallery(show_label=False, columns=8, height=140, fit_columns=False, buttons=[], visible=False),
                    gr.HighlightedText(label=say("marked"), color_map=COLOURS, show_inline_category=False),
                ]
    checked = check_page(file, check, again, sources)

    def drawn(path: str | None, name: str | None, seed: int, request: gr.Request) -> list[Any]:
        if path not in sources:
            return [seed, *[gr.skip()] * len(outputs)]
        with told():
            encoder = library.open(name).encoder
            records = [view_record(record, encoder) for record in sample_records(sources[path], DRAWN, seed)]
        cells = [cell for record in records for cell in _cells(record, language(request))]
        return [seed + 1, *cells, *[gr.skip()] * (len(outputs) - len(cells))]

    def only(shown: gr.Column) -> list[gr.Column]:
        """One of the two views: below each other the second would not be seen."""
        return [gr.Column(visible=part is shown) for part in (records, checked)]

    again.click(lambda: only(records), None, [records, checked], api_visibility="private")
    check.click(lambda: only(checked)[0], None, records, api_visibility="private")
    again.click(drawn, [file, weights, seed], [seed, *outputs], api_visibility="private", concurrency_limit=1)
    return weights


def _cells(record: RecordView, lang: str) -> list[Any]:
    # Decoded here: gradio would refuse to hand out files from outside the folder it was started in.
    pictures = gr.Gallery(value=[read_image(image) for image in record.pictures], visible=bool(record.pictures))
    return [record_text(record, lang), pictures, record.spans]
