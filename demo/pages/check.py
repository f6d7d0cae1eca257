"""The check of a data file, as `eyegraft data check`: findings by code, their records, and the cleaned file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo.model_library import ModelLibrary, display_path
from demo.pages.i18n import (
    cards_text,
    check_text,
    cleaned_text,
    code_choices,
    label,
    language,
    text,
)
from demo.pages.parts.chat_messages import error_toasts
from demo.pages.parts.check_session import CheckResult, clean, images_folder, run_check
from demo.pages.parts.choices import name_before_id
from demo.pages.parts.finding_cards import cards
from demo.server.limits import Limits
from demo.server.uploads import new_download_folder
from llm.config.schema import Source
from llm.errors import EyegraftError
from llm.i18n.translate import Language


@dataclass(frozen=True, slots=True)
class CheckComponents:
    """The components that a check updates: summary, codes, cards of the selected code, and downloads."""

    view: gr.Column
    summary: gr.Markdown
    codes: gr.Radio
    cards: tuple[gr.Markdown, gr.HTML]
    write: gr.Button
    files: tuple[gr.Markdown, gr.DownloadButton, gr.DownloadButton]
    checked: gr.State

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of what `_shown` returns."""
        return [self.summary, self.codes, *self.cards, self.write, *self.files, self.checked]


def check_page(
    library: ModelLibrary,
    limits: Limits,
    file: gr.Dropdown,
    start: gr.Button,
    stop: gr.Button,
    sources: Mapping[str, Source],
) -> gr.Column:
    """Add the check of the file chosen in `file` to the page under construction.

    Returns its column, hidden until `start` is pressed; `stop` cancels a running check.
    """
    view = _view()
    events: dict[str, Any] = {"concurrency_id": "check", "concurrency_limit": 1, "api_visibility": "private"}

    def check(path: str | None, request: gr.Request) -> Iterator[list[Any]]:
        if path is None or path not in sources:
            return
        yield _empty("...")  # the previous findings may be of another file
        with error_toasts(library.visible, language(request)):
            try:
                for checked in run_check(sources[path], name_before_id(path)):
                    yield _shown(checked, path, _naming(library, checked, path), language(request))
            except EyegraftError:
                yield _empty()
                raise

    def choose(checked: CheckResult | None, code: str | None, path: str | None, request: gr.Request) -> list[Any]:
        visible = _naming(library, checked, path or "") if checked else library.visible
        return _cards(checked, code or "", visible, language(request))

    def write(checked: CheckResult | None, request: gr.Request, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        if checked is None:
            return [gr.skip()] * len(view.files)
        lang, total = language(request), checked.report.rows
        with error_toasts(library.visible, language(request)):
            folder = new_download_folder(limits.uploads)
            fixed = clean(checked, folder, lambda rows, _: progress((rows, total), unit=text("unit", lang)))
        images = display_path(Path(images_folder(checked.source)), library.home) if fixed.report.images else ""
        files = [gr.DownloadButton(value=str(path), visible=True) for path in (fixed.out, fixed.quarantine)]
        return [cleaned_text(fixed, images, lang), *files]

    started = start.click(lambda: gr.Column(visible=True), None, view.view, api_visibility="private")
    checks = started.then(check, file, view.outputs, show_progress="hidden", **events)
    stop.click(None, cancels=[checks])
    view.codes.input(
        choose, [view.checked, view.codes, file], [*view.cards], show_progress="hidden", api_visibility="private"
    )
    view.write.click(write, view.checked, [*view.files], **events)
    return view.view


def _view() -> CheckComponents:
    with gr.Column(visible=False) as column:
        summary = gr.Markdown(elem_id="check-summary")
        with gr.Row():
            write = gr.Button(label("clean"), visible=False, elem_id="clean")
            files = [gr.DownloadButton(label(name), visible=False, elem_id=name) for name in ("cleaned", "quarantine")]
        written = gr.Markdown(elem_id="check-written")
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                codes = gr.Radio([], label=label("codes"), visible=False, elem_id="check-codes")
            with gr.Column(scale=6, min_width=300):
                head, found = gr.Markdown(), gr.HTML(elem_id="check-cards")
    return CheckComponents(column, summary, codes, (head, found), write, (written, files[0], files[1]), gr.State(None))


def _naming(library: ModelLibrary, checked: CheckResult, name: str) -> Callable[[str], str]:
    """Messages for visitors, with the file under the name that they chose it by: a service stores it under its id."""
    return lambda message: library.visible(message.replace(checked.source.path, name))


def _shown(checked: CheckResult, name: str, visible: Callable[[str], str], lang: Language) -> list[Any]:
    """The outputs for a running check, or for a finished one with the cards of its first code."""
    choices = code_choices(checked, lang)
    first = choices[0][1] if choices and checked.done else None
    codes = gr.Radio(choices, value=first, visible=bool(choices))
    found = _cards(checked, first, visible, lang) if first else ["", ""]
    button = gr.Button(visible=checked.done and checked.report.rows > 0 and not checked.report.clean)
    return [
        check_text(checked.name or name, checked, lang),
        codes,
        *found,
        button,
        *_empty()[5:8],
        checked if checked.done else None,
    ]


def _empty(summary: str = "") -> list[Any]:
    """The outputs without a check, or for one that has just started."""
    hidden = gr.DownloadButton(visible=False)
    return [summary, gr.Radio(visible=False), "", "", gr.Button(visible=False), "", hidden, hidden, None]


def _cards(checked: CheckResult | None, code: str, visible: Callable[[str], str], lang: Language) -> list[Any]:
    """Heading and cards of a code; no change for a code without findings, which the browser may send."""
    if checked is None or code not in checked.report.counts:
        return [gr.skip(), gr.skip()]
    shown = checked.of(code)
    return [cards_text(code, len(shown), checked.report.counts[code], lang), cards(shown, visible, lang)]
