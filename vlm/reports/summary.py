"""What an evaluation found, as values: each metric with its interval, chance and blind score; and two compared."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from vlm.questions.forms import Judgement
from vlm.questions.question import QuestionSet
from vlm.scores.bootstrap import Comparison, compare, interval


@dataclass(frozen=True, slots=True)
class MetricLine:
    """One metric. `low` and `high` bound the 95 % interval, None where nothing can be resampled.

    `chance` is what guessing reaches in expectation, `blind` what the model reaches without images; None: unknown.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    questions: int
    chance: float | None = None
    blind: float | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The results of the questions of one form. `main` names the metric of tables; empty where answers are hidden."""

    name: str
    form: str
    files: tuple[str, ...]
    questions: int
    main: str
    metrics: tuple[MetricLine, ...]
    refusals: int
    unparsed: int
    lost: int
    notes: tuple[str, ...] = ()

    @property
    def main_line(self) -> MetricLine | None:
        """The metric of tables."""
        return next((one for one in self.metrics if one.name == self.main), None)


def summarise(name: str, asked: QuestionSet, judged: Judgement, blind: Judgement | None = None) -> Benchmark:
    """The results of one set of questions; `blind` is of the same questions asked without their images."""
    blinds = {} if blind is None else {one.name: one.value for one in blind.metrics}
    lines = []
    for metric in judged.metrics:
        bounds = interval(metric)
        low, high = (None, None) if bounds is None else (bounds.low, bounds.high)
        chance = judged.chance.get(metric.name)
        lines.append(
            MetricLine(metric.name, metric.value, low, high, metric.questions, chance, blinds.get(metric.name))
        )
    return Benchmark(
        name=name,
        form=asked.form,
        files=tuple(dict.fromkeys(one.place.file for one in asked.questions)),
        questions=len(asked.questions),
        main="" if judged.main is None else judged.main.name,
        metrics=tuple(lines),
        refusals=sum(judged.refusals),
        unparsed=judged.unparsed,
        lost=len(asked.lost),
        notes=(*asked.notes, *(str(error) for error in asked.lost)),
    )


def compare_judgements(first: Judgement, second: Judgement) -> tuple[Comparison, ...]:
    """The paired bootstrap of every metric of two models on the same questions."""
    others = {one.name: one for one in second.metrics}
    return tuple(compare(one, others[one.name]) for one in first.metrics)


def as_json(model: str, benchmarks: Sequence[Benchmark]) -> str:
    """The content of report.json."""
    return json.dumps({"model": model, "benchmarks": [asdict(one) for one in benchmarks]}, ensure_ascii=False, indent=1)
