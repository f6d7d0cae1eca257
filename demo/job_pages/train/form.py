"""The form: data, model, method, and beside it the request that it makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import FRAME, text
from demo.job_pages.train.model_choices import ModelChoices
from demo.job_pages.train.values import TrainValues
from demo.job_pages.train.words import FORM
from llm.i18n.translate import Language
from vlm.service.store.file_table import list_files
from vlm.service.store.rows import Purpose

SHOWN_FILES = 100
METHODS = ("lora", "qlora", "full")
STAGES = ("finetune", "pretrain")
NUMBERS = ("epochs", "batch", "rate", "length")
ACCEPTED: dict[Purpose, str] = {
    "fine-tune": ".jsonl,.json,.csv,.tsv,.parquet,.arrow,.xlsx,.txt,.gz,.zst,.bz2,.xz",
    "vision": ".zip,.tar,.gz,.tgz,.zst,.xz,.bz2",
}


@dataclass(frozen=True, slots=True)
class Form:
    """What is filled in, what can be chosen, and the language."""

    context: PageContext
    choices: ModelChoices
    values: TrainValues
    lang: Language

    def said(self, key: str, *values: object) -> str:
        """A text of the form."""
        return text(FORM, key, self.lang, *values)


def form_body(form: Form, parts: Mapping[str, Markup], nonce: str) -> Markup:
    """The page. `parts` are refreshed while it is filled in; `nonce` makes pressing the button twice one job."""
    steps = tag("div", _data(form, parts["train-look"]), _model(form, parts["train-hint"]), _method(form))
    head = tag("div", tag("h1", form.said("title")), class_="page-head")
    address = {"data_train": "/pages/train", "data_nonce": nonce}
    return joined([head, tag("form", steps, _request(form, parts), class_="train", novalidate=True, **address)])


def _data(form: Form, look: Markup) -> Markup:
    more = [_file(form, "validation", "fine-tune"), _file(form, "images", "vision")]
    opened = bool(form.values.validation or form.values.images)
    extra = tag("details", tag("summary", form.said("more_data")), *more, open=opened)
    shown = tag("div", look, id="train-look", aria_live="polite")
    return _card(form, "data", _file(form, "file", "fine-tune"), shown, extra)


def _model(form: Form, hint: Markup) -> Markup:
    groups = [
        _group(form, form.said("offered"), form.choices.offered),
        _group(form, form.said("trained_here"), form.choices.trained),
    ]
    chosen = form.values.model
    model = _select("model", [_option("", form.said("choose"), chosen), *groups])
    tower = _select("tower", _options(["", *form.choices.towers], form.values.tower, {"": form.said("none")}))
    names = {"": form.said("auto"), **{key: form.said(key) for key in STAGES}}
    stage = _select("stage", _options(["", *STAGES], form.values.stage, names))
    return _card(
        form,
        "model_part",
        _field(form, "model", model, about=True),
        _field(form, "tower", tower, about=True),
        _field(form, "stage", stage),
        tag("div", hint, id="train-hint", aria_live="polite"),
    )


def _method(form: Form) -> Markup:
    kinds = [_radio("method", key, form.values.method, form.said(key)) for key in METHODS]
    method = tag("fieldset", tag("legend", form.said("method")), *kinds)
    values = {key: getattr(form.values, key) for key in (*NUMBERS, "seed", "suffix")}
    boxes = {key: _box(key, value, form.said("auto") if key != "suffix" else "") for key, value in values.items()}
    engines = form.context.service.engines
    engine = _select("engine", _options(["", *engines], form.values.engine, {"": form.said("auto")}))
    area = tag("textarea", form.values.more, **_named("more"), rows=3, spellcheck="false")
    more = [
        tag("div", *(_field(form, key, boxes[key]) for key in ("length", "seed")), class_="grid"),
        _field(form, "engine", engine) if len(engines) > 1 else None,
        _field(form, "more", area, about=True),
    ]
    opened = bool(form.values.length or form.values.seed or form.values.more or form.values.engine)
    return _card(
        form,
        "method_part",
        method,
        tag("div", *(_field(form, key, boxes[key]) for key in ("epochs", "batch", "rate")), class_="grid"),
        _field(form, "suffix", boxes["suffix"], about=True),
        tag("details", tag("summary", form.said("more_settings")), *more, open=opened),
    )


def _request(form: Form, parts: Mapping[str, Markup]) -> Markup:
    button = tag("button", form.said("submit"), type="submit", class_="button primary wide")
    notice = tag("p", id="notice", class_="notice", role="alert", hidden=True)
    head = tag("h2", form.said("request_part"), id="head-request")
    about = tag("p", form.said("request_about"), class_="quiet")
    shown = tag("div", parts["train-request"], id="train-request")
    card = tag("section", head, about, shown, class_="card", aria_labelledby="head-request")
    return tag("div", tag("div", button, notice, card, class_="sticky"))


def request_tabs(shown: Mapping[str, str], lang: Language) -> Markup:
    """The request in several forms, one at a time."""
    names = list(shown)
    radios = [_radio("request-form", key, names[0], text(FORM, key, lang)) for key in names]
    copy = tag(
        "button", text(FRAME, "copy", lang), type="button", class_="button small", data_copy=text(FRAME, "copied", lang)
    )
    bodies = [tag("pre", body, data_form=key, tabindex="0") for key, body in shown.items()]
    return joined([tag("div", *radios, copy, class_="tabs", role="group"), *bodies])


def _card(form: Form, title: str, *inner: Markup | None) -> Markup:
    head = tag("h2", form.said(title), id=f"head-{title}")
    return tag("section", head, *inner, class_="card", aria_labelledby=f"head-{title}")


def _file(form: Form, name: str, purpose: Purpose) -> Markup:
    """A choice among uploaded files, and a place to drop another."""
    files, _ = list_files(form.context.service.database, SHOWN_FILES, purpose=purpose)
    names = {"": form.said("choose" if name == "file" else "none"), **{one.id: one.filename or one.id for one in files}}
    select = _select(name, _options(list(names), getattr(form.values, name), names))
    hidden = tag(
        "input",
        type="file",
        accept=ACCEPTED[purpose],
        id=f"upload-{name}",
        class_="eg-hidden",
        data_upload=purpose,
        data_into=name,
        data_progress=form.said("uploading", "{}", "{}"),
    )
    drop = tag(
        "label",
        hidden,
        tag("span", form.said("upload"), class_="button"),
        tag("span", form.said("or_drop"), class_="quiet"),
        class_="drop",
    )
    status = tag("p", "", class_="quiet status", role="status", id=f"status-{name}", hidden=True)
    return _field(form, name, joined([drop, select, status]), about=True)


def _field(form: Form, name: str, control: Markup, about: bool = False) -> Markup:
    """A label, its control, its help, and the place of its mistake."""
    label = tag("label", form.said(name), for_=f"field-{name}")
    hint = tag("p", form.said(f"{name}_about"), class_="quiet") if about else None
    mistake = tag("p", "", class_="mistake", id=f"mistake-{name}", hidden=True)
    return tag("div", label, hint, control, mistake, class_="field", id=f"part-{name}")


def _named(name: str) -> dict[str, str]:
    return {"id": f"field-{name}", "name": name, "aria_describedby": f"mistake-{name}"}


def _box(name: str, value: str, hint: str) -> Markup:
    kind = None if name == "suffix" else "decimal" if name == "rate" else "numeric"
    return tag("input", type="text", value=value, placeholder=hint, inputmode=kind, autocomplete="off", **_named(name))


def _select(name: str, options: Sequence[Markup | None]) -> Markup:
    return tag("select", *options, **_named(name))


def _radio(name: str, value: str, chosen: str, shown: str) -> Markup:
    return tag("label", tag("input", type="radio", name=name, value=value, checked=value == chosen), shown)


def _options(values: Sequence[str], chosen: str, names: Mapping[str, str]) -> list[Markup]:
    """The options; a chosen one that is not among them, such as an older file, is added."""
    known = values if chosen in values else [*values, chosen]
    return [_option(value, names.get(value, value), chosen) for value in known]


def _option(value: str, shown: str, chosen: str, sees: bool = False) -> Markup:
    return tag("option", shown, value=value, selected=value == chosen, data_sees=sees)


def _group(form: Form, label: str, names: Sequence[str]) -> Markup | None:
    options = [_option(name, name, form.values.model, name in form.choices.seeing) for name in names]
    return tag("optgroup", *options, label=label) if options else None
