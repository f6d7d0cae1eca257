"""Updates of dropdowns whose choices are read from disk."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.i18n import I18nData


def update_choices(names: Sequence[str], current: str | None) -> gr.Dropdown:
    """New choices for a dropdown, with the first one selected if `current` is none of them.

    Otherwise the update has no value: what a visitor selects before it arrives stays selected.
    """
    return gr.Dropdown(names) if current in names else gr.Dropdown(names, value=next(iter(names), None))


def opened_choices(shown: Mapping[str, str], current: str | None, built: str | None, first: str | None) -> gr.Dropdown:
    """New choices for a dropdown that was built with `built` selected: `first` instead, unless a visitor has chosen.

    `shown`: what is shown for each name. The page is built once and lives for days: what was the newest then need not
    be it now.
    """
    by_visitor = current in shown and current != built
    pairs = named_pairs(shown)
    return gr.Dropdown(pairs) if by_visitor or current == first else gr.Dropdown(pairs, value=first)


def named_pairs(shown: Mapping[str, str]) -> list[tuple[str, str | int | float]]:
    """The choices of a dropdown for names with what is shown for each."""
    return [(label, name) for name, label in shown.items()]


def named_choice(names: Sequence[str], wanted: str) -> str | None:
    """The choice that an address names: by its name, or by the id in brackets at its end; None if there is none."""
    return next((name for name in names if wanted and (name == wanted or name.endswith(f"({wanted})"))), None)


def file_choice(page: gr.Blocks, files: Mapping[str, object], name: I18nData, part: str) -> gr.Dropdown:
    """A dropdown of files by name. Files that come and go are listed again whenever the page is loaded.

    `?file=NAME` of the page's address chooses one of these.
    """
    file = gr.Dropdown(list(files), value=next(iter(files), None), label=name, elem_id=part)
    if not isinstance(files, dict):
        wanted = gr.Textbox(visible=False)

        def refresh(wanted: str | None, chosen: str | None) -> gr.Dropdown:
            names = list(files)
            asked = named_choice(names, wanted or "")
            return gr.Dropdown(names, value=asked) if asked else update_choices(names, chosen)

        asked = "(_, chosen) => [new URLSearchParams(location.search).get('file') || '', chosen]"
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        page.load(refresh, [wanted, file], file, js=asked, **quiet)
    return file
