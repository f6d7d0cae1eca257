"""The plan of a form as HTML: whether it fits, changes to click, time and steps; and the first records."""

import json
import math

from demo.job_pages.parts.failure_words import reason_text
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.value_text import size_text, written
from demo.job_pages.parts.words import span, text
from demo.job_pages.plan.plan_words import PLAN
from demo.job_pages.plan.plans import PlanState
from demo.job_plan.forecast_record import DataForecast, RecordSpans
from llm.config.schema import RunConfig
from llm.i18n.translate import Language
from vlm.service.gate_record import GateAnswer, PlannedChange

MINUTE_S = 60  # below it no more is said than that


def plan_line(key: str, lang: Language) -> Markup:
    """What is shown where there is no plan."""
    return tag("p", text(PLAN, key, lang), class_="quiet")


def working_line(key: str, waited: float, lang: Language) -> Markup:
    """That it is being worked on, and for how many seconds; screen readers are not interrupted by every one."""
    return tag("p", text(PLAN, key, lang, waited), class_="quiet busy", aria_live="off")


def plan_view(
    state: PlanState, memory: int, config: RunConfig | None, records: int, lang: Language, least: int = 0
) -> Markup:
    """The plan. `memory`: bytes of the slot, 0 where unknown; `records`: of the data, 0 where unknown.

    `least`: bytes that the base model takes at any rate, which is shown until there is a forecast; 0 where unknown.
    """
    answer = state.answer
    if answer is None:
        return joined([_first(least, memory, lang), working_line("working", state.waited, lang)])
    if answer.error is not None and not answer.bytes:
        message = text(PLAN, "refused", lang, said(answer.error.message, lang))
        return tag("p", message, class_="verdict bad")
    facts = _facts(answer, state.forecast, config, records, lang) if answer.error is None else []
    key = "working" if answer.error is None else "advising"
    working = None if state.done else working_line(key, state.waited, lang)
    listed = tag("dl", *facts, class_="facts") if facts else None
    return joined(
        [_verdict(answer, memory, lang), _changes(answer, memory, lang), listed, working, *_notes(answer, lang)]
    )


def _first(least: int, memory: int, lang: Language) -> Markup | None:
    """The least that the job takes, before there is a forecast."""
    if not least:
        return None
    if memory and least > memory:
        shown = text(PLAN, "least_too_large", lang, size_text(least), size_text(memory))
        return tag("p", tag("b", shown), class_="verdict bad")
    return tag("p", text(PLAN, "least", lang, size_text(least)))


def start_part(state: PlanState | None, lang: Language) -> Markup:
    """The button that starts the job; not where its plan says that the service would refuse it, and why not."""
    refusal = state.refusal if state is not None else None
    why = None
    if refusal is not None:
        message = text(PLAN, "start_refused", lang, reason_text(refusal, lang))
        why = tag("p", message, class_="refused", id="start-refused")
    button = tag(
        "button", text(PLAN, "start", lang), type="submit", class_="button primary wide", disabled=why is not None,
        aria_describedby="start-refused" if why else None,
    )  # fmt: skip
    return joined([button, why])


def _verdict(answer: GateAnswer, memory: int, lang: Language) -> Markup:
    fits = not memory or answer.bytes <= memory
    sizes = [size_text(answer.bytes), size_text(memory)]
    shown = (
        text(PLAN, "needs", lang, sizes[0]) if not memory else text(PLAN, "fits" if fits else "too_large", lang, *sizes)
    )
    share = min(100, round(100 * answer.bytes / memory)) if memory else 0
    bar = tag("span", tag("span", style=f"width:{share}%"), class_="bar", aria_hidden="true") if memory else None
    return tag("div", tag("p", tag("b", shown)), bar, class_="verdict" if fits else "verdict bad")


def _changes(answer: GateAnswer, memory: int, lang: Language) -> Markup | None:
    if not answer.changes:
        return None
    ordered = sorted(answer.changes, key=lambda change: change.bytes > memory)
    buttons = [tag("li", _change(change, memory, lang)) for change in ordered]
    return joined([tag("p", text(PLAN, "advice", lang)), tag("ul", *buttons, class_="changes")])


def _change(change: PlannedChange, memory: int, lang: Language) -> Markup:
    values = {key: written(value) for key, value in change.values.items()}
    name = " ".join(f"{key}={value}" for key, value in values.items())
    size = text(PLAN, "change_fits" if change.bytes <= memory else "change_not", lang, size_text(change.bytes))
    inner = (tag("code", name), tag("span", size, class_="quiet"))
    return tag("button", *inner, type="button", class_="button change", data_change=json.dumps(values))


def _facts(
    answer: GateAnswer, forecast: DataForecast | None, config: RunConfig | None, records: int, lang: Language
) -> list[Markup]:
    facts = [_fact("time", _time(answer.seconds, lang), lang)]
    if config is not None and records:
        facts.append(_fact("steps", f"{steps_of(config, records):,}", lang))
        facts.append(_fact("records", f"{config.train.batch:,}", lang))
    if forecast is None:
        return facts
    shares = {"padding": forecast.avoided, "supervised": forecast.supervised}
    facts += [
        _fact("length", text(PLAN, "tokens", lang, forecast.median, forecast.longest), lang),
        _fact("packs", text(PLAN, "pack_tokens", lang, forecast.packs, forecast.pack_tokens), lang),
        *(_fact(key, f"{max(0, round(100 * share))}%", lang) for key, share in shares.items()),
    ]
    if forecast.too_long:
        facts.append(_fact("too_long", f"{forecast.too_long:,}", lang))
    if records > forecast.sampled:
        facts.append(tag("p", text(PLAN, "sampled", lang, forecast.sampled), class_="quiet"))
    return facts


def _time(seconds: float | None, lang: Language) -> str:
    if seconds is None:
        return text(PLAN, "unknown_time", lang)
    least = span(seconds, lang)
    return least if seconds < MINUTE_S else text(PLAN, "at_least", lang, least)


def steps_of(config: RunConfig, records: int) -> int:
    """Optimizer steps of a run over so many records, as far as packs do not change their number."""
    train = config.train
    steps = math.ceil(records * (1 - config.data.validation) / train.batch) * train.epochs
    return min(math.ceil(steps), train.max_steps or math.ceil(steps))


def _fact(key: str, value: str, lang: Language) -> Markup:
    return tag("div", tag("dt", text(PLAN, key, lang)), tag("dd", value), class_="fact")


def _notes(answer: GateAnswer, lang: Language) -> list[Markup]:
    return [tag("p", said(note, lang), class_="hint") for note in answer.notes]


def records_view(forecast: DataForecast, lang: Language) -> Markup:
    """The first records, what is learnt marked."""
    shown = [_record(one, lang) for one in forecast.records]
    if not shown:
        return Markup("")
    head = tag("summary", text(PLAN, "records_title", lang))
    about = tag("p", text(PLAN, "records_about", lang), class_="quiet")
    return tag("details", head, about, *shown, id="first-records")


def _record(record: RecordSpans, lang: Language) -> Markup:
    images = [tag("img", alt="", src=f"data:image/jpeg;base64,{one}") for one in record.images]
    spans = [_span(words, kind, lang) for words, kind in record.spans]
    return tag("div", tag("div", *images, class_="images") if images else None, tag("pre", *spans), class_="eg-card")


def _span(words: str, kind: str, lang: Language) -> Markup:
    if kind == "image":
        return tag("span", text(PLAN, "image_tokens", lang, int(words.split()[0])), class_="image")
    return tag("mark", words) if kind == "supervised" else tag("span", words)
