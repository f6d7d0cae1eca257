"""The page of curves: settings, the table that is its legend, and a chart for each metric, which the script draws."""

from collections.abc import Sequence
from urllib.parse import urlencode

from demo.job_pages.curves.curve_cache import ReadCurves
from demo.job_pages.curves.marked_runs import MOST_RUNS, MarkedRun
from demo.job_pages.curves.words import CURVES_PAGE, VALUES
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.words import VIEW, text
from llm.i18n.translate import Language
from vlm.run_folders.curve_points import Curve
from vlm.run_folders.run_curves import SHOWN

COLOURS, DASHES = 5, 4  # in curves.css; together as many lines as differ in both
BEST = {"train_loss": "lowest", "valid_loss": "lowest", "evaluation": "highest", "grad_norm": "highest",
        "tokens_per_s": "highest", "memory_gib": "highest"}  # fmt: skip
Shown = Sequence[tuple[MarkedRun, ReadCurves]]
Others = Sequence[tuple[str, str]]


def curves_body(ids: Sequence[str], runs: Shown, gone: Sequence[str], others: Others, lang: Language) -> Markup:
    """The page; without a run, how to come to one. `others`: ids and names of what can be laid over these."""
    adder = _adder(ids, others, lang) if others and len(ids) < MOST_RUNS else None
    head = tag("div", tag("h1", text(CURVES_PAGE, "title", lang)), adder, class_="page-head")
    if not runs:
        return joined([_back(runs, lang), head, _none(lang)])
    query = urlencode([("run", name) for name in ids])
    held = [tag("div", "", id=f"curve-{run.id}", hidden=True, data_run=run.id, data_number=run.number,
                data_name=run.name) for run, _ in runs]  # fmt: skip
    held += [tag("div", "", id=f"range-{run.id}", hidden=True, data_range=run.id) for run, _ in runs]
    missing = tag("p", text(CURVES_PAGE, "gone", lang, ", ".join(gone)), class_="notice") if gone else None
    values = tag("section", tag("div", values_table(runs, lang), id="curves-values", class_="scroll", tabindex="0",
                                role="region", aria_label=text(VALUES, "caption", lang)), class_="card")  # fmt: skip
    return tag(
        "div", _back(runs, lang), head, missing, tag("div", notes(runs, lang), id="curves-notes"),
        values, _settings(query, lang),
        tag("div", *(_figure(key, lang) for key in SHOWN), class_="curves"), *held,
        id="curves", data_poll=f"/pages/curves?{query}", data_step=text(CURVES_PAGE, "at_step", lang, "{}"),
        data_axis=text(CURVES_PAGE, "step_axis", lang), data_colours=COLOURS, data_dashes=DASHES,
    )  # fmt: skip


def _back(runs: Shown, lang: Language) -> Markup:
    """Where a reader may have come from: the table, and the pages of these runs."""
    links = [(text(VIEW, "all_jobs", lang), "/jobs"), *((run.name, run.address) for run, _ in runs)]
    return tag("p", *(tag("a", f"← {name}", href=address) for name, address in links), class_="back")


def _adder(ids: Sequence[str], others: Others, lang: Language) -> Markup:
    """Lays one more run over these; it needs no script."""
    held = [tag("input", type="hidden", name="run", value=name) for name in ids]
    offered = [tag("option", name, value=key) for key, name in others]
    label = text(CURVES_PAGE, "add", lang)
    select = tag("select", *offered, name="run", aria_label=label)
    button = tag("button", label, type="submit", class_="button")
    return tag("form", *held, select, button, class_="adder", method="get", action="/curves")


def _none(lang: Language) -> Markup:
    jobs = tag("a", text(VIEW, "all_jobs", lang), href="/jobs", class_="button primary")
    title, what = text(CURVES_PAGE, "none_title", lang), text(CURVES_PAGE, "none_text", lang)
    return tag("div", tag("h2", title), tag("p", what), jobs, class_="card empty")


def _settings(query: str, lang: Language) -> Markup:
    slider = tag("input", type="range", id="smooth", min=0, max=0.99, step=0.01, value=0, autocomplete="off")
    smooth = tag("label", text(CURVES_PAGE, "smoothing", lang), slider, tag("output", "0", id="smooth-value"))
    log = tag("input", type="checkbox", id="log", autocomplete="off")
    reset = tag("button", text(CURVES_PAGE, "reset", lang), type="button", id="reset", class_="button", disabled=True)
    file = tag("a", text(CURVES_PAGE, "csv", lang), href=f"/pages/curves.csv?{query}", download="curves.csv",
               class_="button", id="csv")  # fmt: skip
    row = tag("div", smooth, tag("label", log, text(CURVES_PAGE, "log", lang)), reset, file, class_="settings")
    left_out = tag("p", text(CURVES_PAGE, "not_positive", lang), id="not-positive", class_="quiet", hidden=True)
    help_text = tag("p", text(CURVES_PAGE, "help", lang), class_="quiet", id="curves-help")
    label = text(CURVES_PAGE, "settings", lang)
    return tag("section", row, help_text, left_out, class_="card", aria_label=label)


def _figure(key: str, lang: Language) -> Markup:
    name = text(VALUES, key, lang)
    png = tag("button", text(CURVES_PAGE, "png", lang), type="button", class_="button small", data_png=key,
              aria_label=text(CURVES_PAGE, "png_of", lang, name))  # fmt: skip
    caption = tag("figcaption", tag("span", name), png)
    chart = tag("canvas", "", id=f"chart-{key}", data_curve=key, tabindex="0", role="img", aria_label=name,
                aria_describedby="curves-help")  # fmt: skip
    own = f"no_values_{key}"
    why = text(CURVES_PAGE, own if own in CURVES_PAGE else "no_values", lang)
    empty = tag("p", why, class_="quiet no-values", hidden=True)
    tip = tag("div", "", class_="tip", role="status", hidden=True)
    return tag("figure", caption, tag("div", chart, tip, class_="plot"), empty, class_="card", id=f"figure-{key}")


def notes(runs: Shown, lang: Language) -> Markup:
    """What is being read still, and what cannot be read."""
    lines = [
        tag("p", text(CURVES_PAGE, "reading", lang, run.name, int(100 * read.share)), class_="quiet", role="status")
        for run, read in runs
        if read.share < 1
    ]
    lines += [tag("p", said(read.trouble, lang), class_="notice") for _, read in runs if read.trouble]
    return joined(lines)


def values_table(runs: Shown, lang: Language) -> Markup:
    """A row a run: its line in the charts, and its last and best values."""
    heads = [tag("th", text(VALUES, key, lang), scope="col", role="columnheader") for key in ("run", "steps", *SHOWN)]
    rows = [_row(run, read, lang) for run, read in runs]
    head = tag("thead", tag("tr", *heads, role="row"), role="rowgroup")
    body = tag("tbody", *rows, role="rowgroup")
    return tag("table", head, body, class_="plain stack", role="table", aria_label=text(VALUES, "caption", lang))


def _row(run: MarkedRun, read: ReadCurves, lang: Language) -> Markup:
    label = text(VALUES, "shown", lang, run.name)
    box = tag("input", type="checkbox", value=run.id, checked=True, aria_label=label, autocomplete="off")
    look = f"run-{run.number % COLOURS} dash-{run.number % DASHES}"
    line = tag(
        "svg", tag("polyline", points="1,6 39,6", class_=look), viewBox="0 0 40 12", class_="line", aria_hidden="true"
    )
    name = tag("th", box, line, tag("a", run.name, href=run.address), " ", run.badge, scope="row", role="rowheader")
    total = f" / {run.progress.steps:,}" if run.progress.steps else ""
    shown = {"steps": Markup(f"{run.progress.step:,}{total}")}
    shown |= {key: _values(key, read.values[key], lang) for key in SHOWN}
    cells = [
        tag("td", tag("div", value) if value else "", role="cell", data_head=text(VALUES, key, lang))
        for key, value in shown.items()
    ]
    return tag("tr", name, *cells, role="row", id=f"values-{run.id}")


def _values(key: str, curve: Curve, lang: Language) -> Markup:
    if curve.last is None:
        return Markup("")
    kind = BEST.get(key, "")
    best = curve.lowest if kind == "lowest" else curve.highest
    more = text(VALUES, kind, lang, f"{best[1]:.4g}", f"{best[0]:,}") if kind and best else ""
    return joined([f"{curve.last[1]:.4g}", tag("span", more, class_="quiet") if more else None])
