"""The exports on the page of a job: the choice of checkpoint and format, the button, and what became of each."""

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.export_words import EXPORT, EXPORT_STATES, FORMATS
from demo.job_pages.parts.job_kind import kind_of
from demo.job_pages.parts.job_table import moment
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.value_text import size_text
from demo.job_pages.parts.words import ago, text
from demo.jobs.objects import export_id
from llm.files.saved_checkpoints import BEST, list_checkpoints, named_checkpoint, step_of
from llm.i18n.translate import Language
from vlm.service.exports.export_form import DTYPES, ExportForm, offered_formats
from vlm.service.exports.export_state import Export
from vlm.service.store.rows import Job

HEADS = ("checkpoint", "form", "state", "size", "asked")
ABOUT = {"queued": "waits", "running": "writes"}


def export_card(context: PageContext, job: Job, lang: Language, now: float) -> Markup:
    """The card; empty for a job that has not ended or has left no checkpoint."""
    run = context.service.layout.run(job.id)
    steps = [step_of(one) for one in reversed(list_checkpoints(run))]
    found = context.service.exports.of_job(job.id)
    if not job.is_final or not (steps or found):
        return Markup("")
    best = named_checkpoint(run / "checkpoints", BEST)
    return tag(
        "section",
        tag("h2", text(EXPORT, "title", lang), id="head-exports"),
        tag("p", text(EXPORT, "about", lang), class_="quiet"),
        _form(job, steps, best, lang) if steps else None,
        tag("p", "", class_="notice", role="alert", hidden=True, id="export-notice"),
        _table(job, found, lang, now) if found else None,
        class_="card",
        aria_labelledby="head-exports",
    )


def _form(job: Job, steps: list[int], best: str, lang: Language) -> Markup:
    marks = {steps[0]: "newest"} | ({step_of_name(best): "best"} if best else {})
    checkpoints = [
        tag(
            "option",
            f"{text(EXPORT, 'step', lang, f'{step:,}')}{_mark(marks.get(step), lang)}",
            value=f"step-{step:06d}",
        )
        for step in steps
    ]
    forms = [
        tag("option", text(FORMATS, name, lang, dtype), value=f"{name}-{dtype}")
        for name in offered_formats(*kind_of(job))
        for dtype in DTYPES[name]
    ]
    address = f"/pages/jobs/{job.id}/exports"
    button = tag(
        "button", text(EXPORT, "export", lang), type="button", class_="button primary", id="act-export",
        data_act=address, data_fields="#export-form", data_notice="#export-notice",
    )  # fmt: skip
    fields = [_field("checkpoint", checkpoints, lang), _field("form", forms, lang), button]
    return tag("div", *fields, class_="export-form", id="export-form")


def step_of_name(name: str) -> int:
    """The step of a checkpoint's name; -1 for another text."""
    number = name.removeprefix("step-")
    return int(number) if number.isdecimal() else -1


def _mark(key: str | None, lang: Language) -> str:
    return "" if key is None else f" ({text(EXPORT, key, lang)})"


def _field(name: str, options: list[Markup], lang: Language) -> Markup:
    select = tag("select", *options, name=name, id=f"export-{name}")
    return tag("label", text(EXPORT, name, lang), select)


def _table(job: Job, found: list[Export], lang: Language, now: float) -> Markup:
    heads = [tag("th", text(EXPORT, key, lang), scope="col", role="columnheader") for key in HEADS]
    about = tag("span", text(EXPORT, "actions", lang), class_="eg-hidden")
    act = tag("th", about, scope="col", role="columnheader", class_="act")
    rows = [_row(job, one, lang, now) for one in found]
    label = text(EXPORT, "title", lang)
    head = tag("thead", tag("tr", *heads, act, role="row"), role="rowgroup")
    body = tag("tbody", *rows, role="rowgroup")
    table = tag("table", head, body, class_="plain stack", role="table", aria_label=label)
    return tag("div", table, class_="wide", tabindex="0", role="region", aria_label=label)


def _row(job: Job, one: Export, lang: Language, now: float) -> Markup:
    badge = tag("span", text(EXPORT_STATES, one.status, lang), class_=f"badge {one.status}")
    about = text(EXPORT, ABOUT[one.status], lang) if one.status in ABOUT else ""
    more = tag("p", about, class_="quiet") if about else None
    why = tag("p", said(one.error, lang), class_="why") if one.error else None
    form = one.form
    cells = [
        f"{form.step:,}",
        text(FORMATS, form.format, lang, form.dtype),
        joined([badge, more, why]),
        "" if one.bytes is None else size_text(one.bytes),
        moment(one.created_at, ago(now - one.created_at, lang)),
        _actions(job, one, lang),
    ]
    named = zip(HEADS, cells[:-1], strict=True)
    shown = [
        tag("td", tag("div", cell) if cell else "", role="cell", data_head=text(EXPORT, key, lang))
        for key, cell in named
    ]
    shown.append(tag("td", cells[-1], role="cell", class_="act"))
    return tag("tr", *shown, role="row", id=f"export-{form.key}", class_=f"export {one.status}")


def _actions(job: Job, one: Export, lang: Language) -> Markup:
    form, name = one.form, text(FORMATS, one.form.format, lang, one.form.dtype)
    link = tag(
        "a",
        text(EXPORT, "download", lang),
        href=content_address(job.id, form),
        download=True,
        aria_label=text(EXPORT, "download_of", lang, form.step, name),
    )
    remove = tag(
        "button",
        text(EXPORT, "remove", lang),
        type="button",
        class_="button small danger",
        data_act=f"/pages/jobs/{job.id}/exports/{form.key}/remove",
        data_ask=text(EXPORT, "ask_remove", lang),
        data_notice="#export-notice",
        aria_label=text(EXPORT, "remove_of", lang, form.step, name),
    )
    return joined([link, " ", remove] if one.status == "succeeded" else [remove])


def content_address(job: str, form: ExportForm) -> str:
    """Where an export is downloaded."""
    return f"/v1/fine_tuning/jobs/{job}/x_exports/{export_id(job, form)}/content"
