"""Updates of dropdowns whose choices are read from disk."""

from collections.abc import Mapping, Sequence

import gradio as gr
from gradio.i18n import I18nData


def update_choices(names: Sequence[str], current: str | None) -> gr.Dropdown:
    """New choices for a dropdown, with the first one selected if `current` is none of them.

    Otherwise the update has no value: what a visitor selects before it arrives stays selected.
    """
    return gr.Dropdown(names) if current in names else gr.Dropdown(names, value=next(iter(names), None))


def file_choice(page: gr.Blocks, files: Mapping[str, object], name: I18nData, part: str) -> gr.Dropdown:
    """A dropdown of files by name. Files that come and go are listed again whenever the page is loaded."""
    file = gr.Dropdown(list(files), value=next(iter(files), None), label=name, elem_id=part)
    if not isinstance(files, dict):

        def refresh(chosen: str | None) -> gr.Dropdown:
            return update_choices(list(files), chosen)

        page.load(refresh, file, file, api_visibility="private", show_progress="hidden")
    return file
