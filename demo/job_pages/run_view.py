"""One run that was started by hand: what its folder says. The service only watches it."""

from urllib.parse import urlencode

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.job_curves import curves_of_lines
from demo.job_pages.parts.job_table import moment, progress_bar, run_badge
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.words import RUN, VIEW, ago, span, text
from demo.pages.parts.run_status import read_run
from llm.errors import RunError
from llm.i18n.translate import Language
from vlm.service.outside_runs import OutsideRun


def run_parts(context: PageContext, run: OutsideRun, lang: Language) -> dict[str, Markup]:
    """The parts of the page by the ids of their elements."""
    title = tag("h1", run.name, run_badge(run, lang))
    about = tag("p", text(RUN, "about", lang), class_="quiet")
    try:
        view = read_run(run.folder)
    except RunError as error:
        trouble = tag("section", tag("p", said(str(error), lang)), class_="card bad")
        return {"machine": context.machine(lang), "run-head": joined([title, about]), "run-body": trouble}
    curves = curves_of_lines(view.lines, lang)
    overlay = tag("a", text(VIEW, "overlay", lang), href=f"/curves?{urlencode({'run': run.id})}")
    links = tag("p", overlay, class_="links")
    report = tag("dl", *(_pair(name, value) for name, value in view.report), class_="facts")
    cards = [
        _card("facts", _facts(context, run, lang), lang),
        _card("curves", joined([curves, links]), lang) if curves else None,
        _card("report", report, lang) if view.report else None,
        _card("log", tag("pre", view.tail), lang) if view.tail else None,
    ]
    return {"machine": context.machine(lang), "run-head": tag("div", title, about), "run-body": joined(cards)}


def run_body(run: OutsideRun, parts: dict[str, Markup], lang: Language) -> Markup:
    """The page around its parts."""
    return tag(
        "div",
        tag("p", tag("a", f"← {text(VIEW, 'all_jobs', lang)}", href="/jobs"), class_="back"),
        tag("div", parts["run-head"], id="run-head", class_="page-head"),
        tag("div", parts["run-body"], id="run-body"),
        data_poll=f"/pages/runs/{run.id}",
    )


def _card(key: str, inner: Markup, lang: Language) -> Markup:
    title = text(RUN if key in RUN else VIEW, key, lang)
    return tag("section", tag("h2", title, id=f"head-{key}"), inner, class_="card", aria_labelledby=f"head-{key}")


def _facts(context: PageContext, run: OutsideRun, lang: Language) -> Markup:
    now = context.rows(lang).now
    left = run.progress.seconds_left(now) if run.state == "running" else None
    facts: list[tuple[str, str]] = [
        (text(VIEW, "steps", lang), progress_bar(run.progress, run.state == "finished")),
        (text(VIEW, "left", lang), "" if left is None else span(left, lang)),
        (text(RUN, "writer", lang), run.writer),
        (text(RUN, "began", lang), moment(run.created_at, ago(now - run.created_at, lang))),
    ]
    return tag("dl", *(_pair(name, value) for name, value in facts if value), class_="facts")


def _pair(name: str, value: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value), class_="fact")
