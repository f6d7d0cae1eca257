"""One job: its state in words, what can be done with it, its figures and what it has left."""

from pathlib import Path
from urllib.parse import urlencode

from demo.job_pages.export_view import export_card
from demo.job_pages.job_actions import buttons
from demo.job_pages.job_log import event_list, log_end, trouble_card
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.disk_note import disk_note
from demo.job_pages.parts.job_kind import kind_text
from demo.job_pages.parts.job_table import (
    RowContext,
    chat_link,
    compare_link,
    job_badge,
    job_name,
    moment,
    place_of,
    progress_bar,
    state_of,
    time_left,
)
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import FRAME, MEANINGS, VIEW, ago, elapsed, span, text
from llm.files.saved_checkpoints import BEST, checkpoint_folder, named_checkpoint
from llm.i18n.translate import Language
from vlm.service.store.event_table import list_checkpoints
from vlm.service.store.file_table import find_file
from vlm.service.store.rows import Job, JobCheckpoint
from vlm.service.store.states import State


def view_parts(context: PageContext, job: Job, lang: Language, first: bool = False) -> dict[str, Markup]:
    """The parts of the page by the ids of their elements. `first`: curves are drawn when they are asked for again."""
    row = context.rows(lang)
    return {
        "machine": context.machine(lang),
        "job-head": _head(job, row),
        "job-disk": Markup("") if job.is_final else disk_note(context.service.layout.root, lang),
        "job-error": trouble_card(context.service, job, lang),
        "job-facts": _facts(context, job, row),
        "job-curves": _curves(context, job, lang, first),
        "job-checkpoints": _checkpoints(context, job, row),
        "job-exports": export_card(context, job, lang, row.now),
        "job-recipe": tag("pre", job.recipe) if job.recipe else _missing("recipe", job, lang),
        "job-events": event_list(context.service, job, lang),
        "job-log": log_end(context.service, job, lang),
    }


def _curves(context: PageContext, job: Job, lang: Language, first: bool) -> Markup:
    found = context.curves.drawn(job.id, lang) if first else context.curves.of(job.id, lang)
    if found:
        return found
    if first and job.progress.step:
        return tag("p", text(VIEW, "drawing", lang), class_="quiet drawing")
    return _missing("curves", job, lang)


def _missing(name: str, job: Job, lang: Language) -> Markup:
    """That there is nothing of this kind: not yet, or never of a job that has ended."""
    key = f"never_{name}" if job.is_final else f"no_{name}"
    return tag("p", text(VIEW, key, lang), class_=f"quiet {key}")


def view_body(job: Job, parts: dict[str, Markup], lang: Language) -> Markup:
    """The page around its parts."""
    links = [
        tag("a", text(VIEW, key, lang), href=f"/pages/jobs/{job.id}/{file}", download=f"{job_name(job)}-{file}")
        for key, file in (("csv", "metrics.csv"), ("recipe_file", "recipe.yaml"))
    ]
    overlay = tag("a", text(VIEW, "overlay", lang), href=f"/curves?{urlencode({'run': job.id})}")
    aside = tag("div", _card("checkpoints", parts["job-checkpoints"], lang), _card("events", parts["job-events"], lang))
    recipe = tag("div", parts["job-recipe"], id="job-recipe")
    log = tag("div", parts["job-log"], id="job-log")
    return tag(
        "div",
        tag("p", tag("a", f"← {text(VIEW, 'all_jobs', lang)}", href="/jobs"), class_="back"),
        tag("div", parts["job-head"], id="job-head", class_="page-head"),
        tag("p", id="notice", class_="notice", role="alert", hidden=True),
        tag("div", parts["job-disk"], id="job-disk"),
        tag("div", parts["job-error"], id="job-error"),
        _card("facts", parts["job-facts"], lang),
        _card("curves", parts["job-curves"], lang, tag("p", overlay, *links, class_="links")),
        tag("div", aside, class_="two"),
        tag("div", parts["job-exports"], id="job-exports"),
        tag("details", tag("summary", text(VIEW, "log", lang)), log, class_="card"),
        tag("details", tag("summary", text(VIEW, "recipe", lang)), recipe, class_="card"),
        data_poll=f"/pages/jobs/{job.id}",
    )


def _card(name: str, inner: Markup, lang: Language, *more: Markup) -> Markup:
    head = tag("h2", text(VIEW, name, lang), id=f"head-{name}")
    part = tag("div", inner, id=f"job-{name}")
    return tag("section", head, part, *more, class_="card", aria_labelledby=f"head-{name}")


def _head(job: Job, row: RowContext) -> Markup:
    lang = row.lang
    title = tag("h1", job_name(job), job_badge(job, lang))
    passed = elapsed(max(0, int(row.now - job.created_at)), lang)
    looked_at = text(VIEW, "so_far", lang, passed) if job.state is State.VALIDATING else ""
    meaning = tag("p", text(MEANINGS, state_of(job), lang), looked_at, class_="quiet")
    chat = tag("a", text(VIEW, "chat", lang), href=chat_link(str(job.fine_tuned_model)), class_="button primary")
    against = tag("a", text(VIEW, "against", lang), href=compare_link(str(job.fine_tuned_model)), class_="button")
    name = "again" if job.is_final else "alike"
    again = tag("a", text(VIEW, name, lang), href=f"/train?{urlencode({'like': job.id})}", class_="button")
    made = job.state is State.SUCCEEDED
    tried = [chat, against] if made else []
    acts = buttons(job, lang)
    actions = tag("div", *tried, *((again, *acts) if job.is_final else (*acts, again)), class_="actions")
    return joined([tag("div", title, meaning), actions])


def _facts(context: PageContext, job: Job, row: RowContext) -> Markup:
    lang = row.lang
    tokens = f"{job.trained_tokens:,}" if job.trained_tokens else ""
    facts: list[tuple[str, str]] = [
        ("steps", progress_bar(job.progress, job.state is State.SUCCEEDED)),
        ("left", time_left(job, row)),
        ("took", _took(job, row)),
        ("kind", kind_text(job, lang)),
        ("model", job.model),
        ("data", _file_name(context, job.training_file)),
        ("validation", _file_name(context, job.validation_file)),
        ("images", _file_name(context, job.request["x_eyegraft"].get("images"))),
        ("place", place_of(job, row.slots)),
        ("seed", str(job.request.get("seed", ""))),
        ("tokens", tokens),
        ("submitted", moment(job.created_at, ago(row.now - job.created_at, lang))),
        ("trained", tag("code", str(job.fine_tuned_model)) if job.state is State.SUCCEEDED else ""),
    ]
    return tag("dl", *(_fact(key, value, lang) for key, value in facts if value), class_="facts")


def _fact(key: str, value: str, lang: Language) -> Markup:
    return tag("div", tag("dt", text(VIEW, key, lang)), tag("dd", value), class_=f"fact {key}")


def _took(job: Job, row: RowContext) -> str:
    """From the first start to the end, pauses included."""
    if job.started_at is None:
        return ""
    return span((job.finished_at or row.now) - job.started_at, row.lang)


def _file_name(context: PageContext, name: str | None) -> str:
    file = find_file(context.service.database, name) if name else None
    return (file.filename or file.id) if file else (name or "")


def _checkpoints(context: PageContext, job: Job, row: RowContext) -> Markup:
    found, lang = list_checkpoints(context.service.database, job.id), row.lang
    if not found:
        return _missing("checkpoints", job, lang)
    run = context.service.layout.run(job.id)
    best = named_checkpoint(run / "checkpoints", BEST)
    heads = ("step", "train_loss", "valid_loss", "saved")
    head = tag("tr", *(tag("th", text(VIEW, key, lang), scope="col") for key in heads), tag("td", "", class_="act"))
    rows = [_checkpoint(job, one, run, best, row) for one in found]
    label = text(VIEW, "checkpoints", lang)
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="plain", aria_label=label)
    return tag("div", table, class_="listed", tabindex="0", role="group", aria_label=label)


def _checkpoint(job: Job, one: JobCheckpoint, run: Path, best: str, row: RowContext) -> Markup:
    folder, lang = checkpoint_folder(run, one.step), row.lang
    mark = tag("span", text(VIEW, "best", lang), class_="badge succeeded") if folder.name == best else None
    gone = tag("span", text(VIEW, "gone", lang), class_="quiet")
    name = f"{job.fine_tuned_model}:ckpt-step-{one.step}"
    label = text(VIEW, "chat_with", lang, one.step)
    chat = tag("a", text(VIEW, "chat", lang), href=chat_link(name), aria_label=label)
    label = text(VIEW, "compare_step", lang, one.step)
    against = tag("a", text(FRAME, "compare", lang), href=compare_link(name), aria_label=label)
    last = joined([chat, " ", against]) if job.state is State.SUCCEEDED else None
    return tag(
        "tr",
        tag("td", f"{one.step:,} ", mark),
        tag("td", _figure(one.metrics.get("train_loss"))),
        tag("td", _figure(one.metrics.get("valid_loss"))),
        tag("td", moment(one.created_at, ago(row.now - one.created_at, lang))),
        tag("td", last if folder.is_dir() else gone, class_="act"),
        id=f"step-{one.step}",
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
