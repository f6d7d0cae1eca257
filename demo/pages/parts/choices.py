"""Updates of dropdowns whose choices are read from disk."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from demo.pages.parts.kept_choices import asked_and_kept, keep

NAME_AND_ID = re.compile(r"(?P<name>.+) \(file-\w+\)")


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


def kept_choice(shown: Mapping[str, str], name: str | None) -> gr.Dropdown:
    """New choices for a dropdown, with the one that an address names or that was chosen before a reload."""
    return gr.Dropdown(named_pairs(shown), value=name)


def named_pairs(shown: Mapping[str, str]) -> list[tuple[str, str | int | float]]:
    """The choices of a dropdown for names with what is shown for each."""
    return [(label, name) for name, label in shown.items()]


def named_choice(names: Sequence[str], wanted: str) -> str | None:
    """The choice that an address names: by its name, or by the id in brackets at its end; None if there is none."""
    return next((name for name in names if wanted and (name == wanted or name.endswith(f"({wanted})"))), None)


def name_before_id(choice: str) -> str:
    """The visitor's own name of a file that is stored under the id in brackets at its end; empty without one."""
    found = NAME_AND_ID.fullmatch(choice)
    return found["name"] if found else ""


def file_choice(
    page: gr.Blocks,
    files: Mapping[str, object],
    name: I18nData,
    part: str,
    first: Callable[[], str | None] | None = None,
) -> gr.Dropdown:
    """A dropdown of files by name. Files that come and go are listed again whenever the page is loaded.

    `?file=NAME` of the page's address chooses one of these; otherwise `first` names the one that is chosen at first,
    or it is the first in the list.
    """
    built = (first() if first else None) or next(iter(files), None)
    file = gr.Dropdown(list(files), value=built, label=name, elem_id=part, min_width=260)
    if not isinstance(files, dict):
        texts = [gr.Textbox(visible=False) for _ in range(2)]

        def refresh(wanted: str | None, kept: str | None, chosen: str | None) -> gr.Dropdown:
            names = list(files)
            if asked := named_choice(names, wanted or ""):
                return gr.Dropdown(names, value=asked)
            shown = dict(zip(names, names, strict=True))
            best = (first() if first else None) or next(iter(names), None)
            return (
                kept_choice(shown, chosen if chosen in shown else best)
                if kept
                else opened_choices(shown, chosen, built, best)
            )

        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        page.load(refresh, [*texts, file], file, js=asked_and_kept(f"eyegraft-{part}", "file"), **quiet)
        file.input(None, file, None, js=keep(f"eyegraft-{part}"), **quiet)
    return file
