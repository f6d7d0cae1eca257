"""The form: data, model, method, all settings, and beside it the plan and the request that it makes."""

from collections.abc import Mapping, Sequence

from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import FRAME, text
from demo.job_pages.train.controls import (
    Form,
    box,
    card,
    labelled,
    mistake_place,
    option,
    options,
    radio,
    select,
)
from demo.job_pages.train.data_form import data_card
from demo.job_pages.train.hub_view import hub_field
from demo.job_pages.train.schema_fields import setting_fields
from demo.job_pages.train.settings_form import BASIC, setting, settings_groups
from demo.job_pages.train.values import KIND, METHOD
from demo.job_pages.train.words import FORM, SOUGHT
from llm.i18n.translate import Language

METHODS = ("lora", "qlora", "full")
STAGES = ("finetune", "pretrain")


def form_body(form: Form, parts: Mapping[str, Markup], nonce: str) -> Markup:
    """The page. `parts` are refreshed while it is filled in; `nonce` makes pressing the button twice one job."""
    data = data_card(form, parts["train-look"], parts["train-records"])
    steps = tag(
        "div", data, _model(form, parts["train-hint"], parts["train-downloads"]), _method(form), _settings(form)
    )
    head = tag("div", tag("h1", form.said("title")), class_="page-head")
    address = {"data_train": "/pages/train", "data_nonce": nonce}
    disk = tag("div", parts["train-disk"], id="train-disk")
    return joined([head, disk, tag("form", steps, _aside(form, parts), class_="train", novalidate=True, **address)])


def _model(form: Form, hint: Markup, downloads: Markup) -> Markup:
    groups = [
        _group(form, form.said("offered"), form.choices.offered),
        _group(form, form.said("hub"), form.choices.hub),
        _group(form, form.said("trained_here"), form.choices.trained),
    ]
    chosen = form.values.model
    known = (*form.choices.offered, *form.choices.hub, *form.choices.trained, "")
    lost = None if chosen in known else option(chosen, chosen, chosen)
    model = select("model", [option("", form.said("choose"), chosen), *groups, lost])
    tower = select("tower", options(["", *form.choices.towers], form.values.tower, {"": form.said("none")}))
    names = {"": form.said("auto"), **{key: form.said(key) for key in STAGES}}
    stage = select("stage", options(["", *STAGES], form.values.stage, names))
    return card(
        form,
        "model_part",
        labelled(form, "model", model, about=True),
        labelled(form, "tower", tower, about=True),
        hub_field(form.context, downloads, form.lang),
        labelled(form, "stage", stage),
        tag("div", hint, id="train-hint", aria_live="polite"),
    )


def _method(form: Form) -> Markup:
    chosen = form.values.settings.get(KIND, METHOD)
    others = [] if chosen in METHODS else [radio(KIND, chosen, chosen, chosen)]
    kinds = [*(radio(KIND, key, chosen, form.said(key)) for key in METHODS), *others]
    legend = tag("legend", form.said("tune-kind"))
    method = tag("fieldset", legend, *kinds, mistake_place(KIND), id="part-tune-kind", data_basic=True,
                 data_sought=" ".join(SOUGHT[KIND]))  # fmt: skip
    boxes = [_basic(form, key) for key in BASIC if key != KIND]
    return card(
        form,
        "method_part",
        method,
        tag("div", *boxes, class_="grid", data_basic=True),
        labelled(form, "suffix", box("suffix", form.values.suffix, "", None), about=True),
    )


def _basic(form: Form, key: str) -> Markup:
    label = form.said(key.replace(".", "-"))
    return setting(setting_fields()[key], form.values.text(key), form.lang, label, form.said("auto"))


def _settings(form: Form) -> Markup:
    values = form.values
    about = tag("p", form.said("all_settings_about"), class_="quiet")
    find = tag(
        "input", type="search", id="find-setting", aria_label=form.said("find_setting"),
        placeholder=form.said("find_setting"),
    )  # fmt: skip
    none = tag("p", form.said("none_found"), class_="quiet", id="none-found", role="status", hidden=True)
    above = tag("p", "", class_="quiet", id="found-above", role="status", data_said=form.said("found_above", "{}"),
                hidden=True)  # fmt: skip
    own = tag("summary", form.said("group_job"))
    job = tag("details", own, tag("div", *_of_job(form), class_="settings"), class_="group", id="group-job",
              open=bool(values.seed or values.engine or values.processes))  # fmt: skip
    head = tag("summary", tag("h2", form.said("all_settings")))
    opened = any(key not in BASIC for key in values.settings) or bool(values.seed or values.engine)
    return tag(
        "details", head, about, find, none, above, job, settings_groups(values, form.lang), class_="card all",
        id="all-settings", open=opened,
    )  # fmt: skip


def _of_job(form: Form) -> list[Markup]:
    engines = form.context.service.engines
    engine = select("engine", options(["", *engines], form.values.engine, {"": form.said("auto")}))
    return [
        labelled(form, "seed", box("seed", form.values.seed, "0"), about=True),
        labelled(form, "processes", box("processes", form.values.processes, "1"), about=True),
        labelled(form, "engine", engine),
    ]


def _aside(form: Form, parts: Mapping[str, Markup]) -> Markup:
    button = tag("div", parts["train-start"], id="train-start")
    notice = tag("p", id="notice", class_="notice", role="alert", hidden=True)
    plan = tag("div", parts["train-plan"], id="train-plan", aria_live="polite")
    about = tag("p", form.said("request_about"), class_="quiet")
    shown = tag("div", parts["train-request"], id="train-request")
    cards = (card(form, "plan_part", plan, button, notice), card(form, "request_part", about, shown))
    return tag("div", tag("div", *cards, class_="sticky"))


def request_tabs(shown: Mapping[str, str], lang: Language) -> Markup:
    """The request in several forms, one at a time."""
    names = list(shown)
    radios = [radio("request-form", key, names[0], text(FORM, key, lang)) for key in names]
    copied = text(FRAME, "copied", lang)
    copy = tag("button", text(FRAME, "copy", lang), type="button", class_="button small", data_copy=copied)
    bodies = [tag("pre", body, data_form=key, tabindex="0") for key, body in shown.items()]
    return joined([tag("div", *radios, copy, class_="tabs", role="group"), *bodies])


def _group(form: Form, label: str, names: Sequence[str]) -> Markup | None:
    shown = [option(name, name, form.values.model, name in form.choices.seeing) for name in names]
    return tag("optgroup", *shown, label=label) if shown else None
