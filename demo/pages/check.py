"""A data file judged as `eyegraft data check` judges it: what was found by kind, the records, and the cleaned file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.pages.check_words import HEADERS, cards_text, check_text, cleaned_text, code_table
from demo.pages.i18n import language, say
from demo.pages.parts.chat_messages import told
from demo.pages.parts.check_session import CheckResult, clean, images_folder, run_check
from demo.pages.parts.finding_cards import cards
from demo.server.limits import DEFAULT
from demo.server.uploads import new_download_folder
from llm.config.schema import Source
from llm.errors import EyegraftError

CODE = 3  # the column of the table that names the code


@dataclass(frozen=True, slots=True)
class CheckComponents:
    """What a check fills: summary, table, cards of the chosen code, and the cleaned files."""

    view: gr.Column
    summary: gr.Markdown
    table: gr.Dataframe
    cards: tuple[gr.Markdown, gr.HTML]
    write: gr.Button
    files: tuple[gr.Markdown, gr.DownloadButton, gr.DownloadButton]
    checked: gr.State

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of what `_shown` returns."""
        return [self.summary, self.table, *self.cards, self.write, *self.files, self.checked]


def check_page(file: gr.Dropdown, start: gr.Button, stop: gr.Button, sources: dict[str, Source]) -> gr.Column:
    """Build the check of the chosen file into the current page; returns its column, hidden until `start` is pressed.

    `stop` ends a check under way.
    """
    view = _view()
    many: dict[str, Any] = {"concurrency_id": "check", "concurrency_limit": 1, "api_visibility": "private"}

    def check(path: str | None, request: gr.Request) -> Iterator[list[Any]]:
        if path not in sources:
            return
        yield _empty("...")  # what was found before may be of another file
        with told():
            try:
                for checked in run_check(sources[path]):
                    yield _shown(checked, language(request))
            except EyegraftError:
                yield _empty()
                raise

    def choose(checked: CheckResult | None, event: gr.SelectData, request: gr.Request) -> list[Any]:
        code = event.row_value[CODE] if event.row_value else ""
        return _cards(checked, str(code), language(request))

    def write(checked: CheckResult | None, request: gr.Request, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        if checked is None:
            return [gr.skip()] * len(view.files)
        with told():
            total = checked.report.rows
            fixed = clean(
                checked, new_download_folder(DEFAULT.uploads), lambda rows, _: progress((rows, total), unit="rows")
            )
        folder = images_folder(checked.source) if fixed.report.images else ""
        files = [gr.DownloadButton(value=str(path), visible=True) for path in (fixed.out, fixed.quarantine)]
        return [cleaned_text(fixed, folder, language(request)), *files]

    started = start.click(lambda: gr.Column(visible=True), None, view.view, api_visibility="private")
    checks = started.then(check, file, view.outputs, show_progress="hidden", **many)
    stop.click(None, cancels=[checks])
    view.table.select(choose, view.checked, [*view.cards], show_progress="hidden", api_visibility="private")
    view.write.click(write, view.checked, [*view.files], **many)
    return view.view


def _view() -> CheckComponents:
    with gr.Column(visible=False) as column:
        summary = gr.Markdown(elem_id="check-summary")
        with gr.Row():
            write = gr.Button(say("clean"), visible=False, elem_id="clean")
            files = [gr.DownloadButton(say(name), visible=False, elem_id=name) for name in ("cleaned", "quarantine")]
        written = gr.Markdown(elem_id="check-written")
        with gr.Row():
            with gr.Column(scale=5, min_width=360):
                table = _table()
            with gr.Column(scale=6, min_width=360):
                head, found = gr.Markdown(), gr.HTML(elem_id="check-cards")
    return CheckComponents(column, summary, table, (head, found), write, (written, files[0], files[1]), gr.State(None))


def _table() -> gr.Dataframe:
    return gr.Dataframe(
        headers=HEADERS["en"],
        datatype=["number", "str", "str", "str"],
        column_widths=["15%", "17%", "40%", "28%"],
        label=say("codes"),
        buttons=[],
        interactive=False,
        wrap=True,
        visible=False,
        max_height=900,
        elem_id="check-codes",
    )


def _shown(checked: CheckResult, lang: str) -> list[Any]:
    """A check so far, or with the cards of its first code once it is done."""
    rows = code_table(checked, lang)
    table = gr.Dataframe(value=rows, headers=HEADERS[lang], visible=bool(rows))
    found = _cards(checked, str(rows[0][CODE]), lang) if rows and checked.done else ["", ""]
    button = gr.Button(visible=checked.done and checked.report.rows > 0 and not checked.report.clean)
    return [check_text(checked, lang), table, *found, button, *_empty()[5:8], checked if checked.done else None]


def _empty(summary: str = "") -> list[Any]:
    """No check, or one that has just begun."""
    hidden = gr.DownloadButton(visible=False)
    return [summary, gr.Dataframe(visible=False), "", "", gr.Button(visible=False), "", hidden, hidden, None]


def _cards(checked: CheckResult | None, code: str, lang: str) -> list[Any]:
    """The findings of a code; the browser may have sent any."""
    if checked is None or code not in checked.report.counts:
        return [gr.skip(), gr.skip()]
    shown = checked.of(code)
    return [cards_text(code, len(shown), checked.report.counts[code], lang), cards(shown)]
