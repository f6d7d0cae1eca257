"""Parts of the form: cards, fields with their help and the place of their mistake, choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.markup import Markup, tag
from demo.job_pages.parts.words import text
from demo.job_pages.train.model_choices import ModelChoices
from demo.job_pages.train.settings_form import element_id
from demo.job_pages.train.values import TrainValues
from demo.job_pages.train.words import FORM
from llm.i18n.translate import Language


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


def card(form: Form, title: str, *inner: Markup | None) -> Markup:
    """A section with a heading."""
    head = tag("h2", form.said(title), id=f"head-{title}")
    return tag("section", head, *inner, class_="card", aria_labelledby=f"head-{title}")


def labelled(form: Form, name: str, control: Markup, about: bool = False) -> Markup:
    """A label, its control, its help, and the place of its mistake."""
    key = element_id(name)
    label = tag("label", form.said(key), for_=f"field-{key}")
    hint = tag("p", form.said(f"{key}_about"), class_="quiet", id=f"help-{key}") if about else None
    return tag("div", label, hint, control, mistake_place(name), class_="field", id=f"part-{key}")


def mistake_place(name: str) -> Markup:
    """Where the mistake of a field is said."""
    return tag("p", "", class_="mistake", id=f"mistake-{element_id(name)}", hidden=True)


def named(name: str) -> dict[str, str]:
    """The attributes by which a control, its label and its mistake belong together."""
    key = element_id(name)
    return {"id": f"field-{key}", "name": name, "aria_describedby": f"mistake-{key}"}


def box(name: str, value: str, hint: str, mode: str | None = "numeric") -> Markup:
    """A line of text."""
    return tag("input", type="text", value=value, placeholder=hint, inputmode=mode, autocomplete="off", **named(name))


def select(name: str, options: Sequence[Markup | None]) -> Markup:
    """A choice of one."""
    return tag("select", *options, **named(name))


def radio(name: str, value: str, chosen: str, shown: str) -> Markup:
    """One of several buttons, with its label."""
    return tag("label", tag("input", type="radio", name=name, value=value, checked=value == chosen), shown)


def options(values: Sequence[str], chosen: str, names: Mapping[str, str]) -> list[Markup]:
    """The options; a chosen one that is not among them, such as an older file, is added."""
    known = values if chosen in values else [*values, chosen]
    return [option(value, names.get(value, value), chosen) for value in known]


def option(value: str, shown: str, chosen: str, sees: bool = False) -> Markup:
    """One option. `sees`: a model that reads images."""
    return tag("option", shown, value=value, selected=value == chosen, data_sees=sees)
