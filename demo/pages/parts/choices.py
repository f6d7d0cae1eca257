"""Updates of dropdowns whose choices are read from disk."""

from collections.abc import Sequence

import gradio as gr


def update_choices(names: Sequence[str], current: str | None) -> gr.Dropdown:
    """New choices for a dropdown, with the first one selected if `current` is none of them.

    Otherwise the update has no value: what a visitor selects before it arrives stays selected.
    """
    return gr.Dropdown(names) if current in names else gr.Dropdown(names, value=next(iter(names), None))
