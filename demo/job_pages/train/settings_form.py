"""Fields of the recipe's settings: made from its schema, each with what it takes and its help in both languages."""

from collections.abc import Mapping

from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import text
from demo.job_pages.train.schema_fields import LONG, SECTIONS, TRACK, SettingField, setting_fields
from demo.job_pages.train.values import KIND, TrainValues
from demo.job_pages.train.words import FORM, SOUGHT, TITLES
from llm.i18n.translate import Language, translated

BASIC = (KIND, "train.epochs", "train.batch", "optim.lr", "data.max_length")
"""The settings that the form has above the others."""


def settings_groups(values: TrainValues, lang: Language) -> Markup:
    """All other settings in groups, closed unless something is filled in."""
    groups: dict[str, list[Markup]] = {section: [] for section in (*SECTIONS, TRACK)}
    for key, field in setting_fields().items():
        if key not in BASIC:
            groups[field.section].append(setting(field, values.text(key), lang))
    return joined(_group(section, fields, values, lang) for section, fields in groups.items())


def _group(section: str, fields: list[Markup], values: TrainValues, lang: Language) -> Markup:
    filled = any(key.partition(".")[0] == section for key in values.settings if key not in BASIC)
    head = tag("summary", text(FORM, f"group_{section}", lang), tag("code", section, class_="quiet"))
    inner = tag("div", *fields, class_="settings")
    vision = section == "model"
    return tag("details", head, inner, open=filled, id=f"group-{section}", class_="group", data_vision=vision)


def setting(field: SettingField, value: str, lang: Language, label: str = "", first: str = "") -> Markup:
    """One field. `label`: what it is called, where that is not its title and its key beside it.

    `first`: what an empty one is, where that is not the schema's default.
    """
    name = element_id(field.key)
    default = first or field.default
    hint = [tag("p", translated(field.about, lang), class_="quiet", id=f"help-{name}")] if field.about else []
    mistake = tag("p", "", class_="mistake", id=f"mistake-{name}", hidden=True)
    titled = [text(TITLES, field.key, lang), " ", tag("code", field.key, class_="quiet")]
    shown = tag("label", *([label] if label else titled), for_=f"field-{name}")
    control = _control(field, value, default, lang)
    sought = " ".join(SOUGHT[field.key]) if field.key in SOUGHT else None
    return tag(
        "div", shown, *hint, control, mistake, class_="field", id=f"part-{name}", data_vision=field.vision,
        data_sought=sought,
    )  # fmt: skip


def element_id(name: str) -> str:
    """The name of a field as part of an element's id."""
    return name.replace(".", "-")


def _control(field: SettingField, value: str, default: str, lang: Language) -> Markup:
    name = element_id(field.key)
    described = f"help-{name} mistake-{name}" if field.about else f"mistake-{name}"
    named: Mapping[str, str] = {"name": field.key, "id": f"field-{name}", "aria_describedby": described}
    if field.choices:
        shown = f"{text(FORM, 'auto', lang)} ({default})" if default else text(FORM, "auto", lang)
        known = field.choices if value in ("", *field.choices) else (*field.choices, value)
        options = [tag("option", shown, value="", data_auto=text(FORM, "auto", lang))]
        options += [tag("option", choice, value=choice, selected=choice == value) for choice in known]
        return tag("select", *options, **named)
    if field.key in LONG:
        return tag("textarea", value, **named, rows=3, spellcheck="false", placeholder=default)
    hint = ", ".join(part for part in (default, field.bounds if not default else "") if part)
    mode = {"integer": "numeric", "number": "decimal"}.get(field.kind)
    return tag(
        "input", type="text", **named, value=value, placeholder=hint, autocomplete="off", inputmode=mode,
        title=field.bounds or None,
    )  # fmt: skip
