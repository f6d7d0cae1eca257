"""The forms of benchmarks: what answers them, how an answer is read, what it scores, and which metrics count it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlm.questions.question import Question
from vlm.scores.answer_reading import read_box, read_letter, read_number, read_presence, read_yes_no
from vlm.scores.boxes import UNIT, BoxConvention, overlap
from vlm.scores.caption_words import caption_words
from vlm.scores.captions import caption_metrics
from vlm.scores.metric import Metric, all_right_metric, by_category, macro_metric, mean_metric, numbered
from vlm.scores.refusals import is_refusal
from vlm.scores.short_answers import anls_score, exact_score, gqa_score, plain_number, relaxed_score, vqa_score
from vlm.scores.yes_no import mme_metrics, pope_metrics

AnsweredBy = Literal["letter", "yes_no", "text", "box"]
"""What a model is asked for. Letters, and yes or no, can be found from logits, without generation."""


@dataclass(frozen=True, slots=True)
class Form:
    """`main` is the metric that a table shows. `tokens` are the most an answer needs."""

    name: str
    answered_by: AnsweredBy
    main: str
    tokens: int
    title: str


FORMS: Mapping[str, Form] = {
    one.name: one
    for one in (
        Form("letters", "letter", "accuracy", 16, "multiple choice"),
        Form("mmlu", "letter", "accuracy", 16, "MMLU, C-Eval, CMMLU"),
        Form("pope", "yes_no", "f1", 16, "POPE"),
        Form("mme", "yes_no", "acc", 16, "MME"),
        Form("vqa", "text", "accuracy", 16, "VQAv2"),
        Form("textvqa", "text", "accuracy", 16, "TextVQA"),
        Form("vizwiz", "text", "accuracy", 16, "VizWiz"),
        Form("gqa", "text", "accuracy", 16, "GQA"),
        Form("chartqa", "text", "relaxed_accuracy", 16, "ChartQA"),
        Form("docvqa", "text", "anls", 32, "DocVQA"),
        Form("refcoco", "box", "acc_at_0.5", 64, "RefCOCO"),
        Form("captions", "text", "cider", 64, "captions"),
        Form("exact", "text", "exact_match", 128, "your own questions"),
    )
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What answers are worth. `parsed` [questions]: what was read of each, None for unparsed; `scores` from 0 to 1.

    Of captions, the score is CIDEr-D, from 0 to 10. `scores` and `metrics` are empty where answers are hidden.
    """

    form: Form
    parsed: tuple[str | None, ...]
    scores: tuple[float, ...]
    metrics: tuple[Metric, ...]
    refusals: tuple[bool, ...]
    chance: Mapping[str, float]

    @property
    def unparsed(self) -> int:
        """How many answers say nothing that the form asks for."""
        return sum(one is None for one in self.parsed)

    @property
    def main(self) -> Metric | None:
        """The metric that a table shows: circular accuracy where the file has circular passes."""
        names = ("circular_accuracy", self.form.main)
        return next((one for name in names for one in self.metrics if one.name == name), None)


def choices(question: Question) -> tuple[str, ...]:
    """The answers among which a question's logits choose; () for questions that are answered by a text."""
    kind = FORMS[question.form].answered_by
    if kind == "letter":
        return tuple(question.options)
    return ("Yes", "No") if kind == "yes_no" else ()


def judge(questions: Sequence[Question], answers: Sequence[str], boxes: BoxConvention = UNIT) -> Judgement:
    """Read and score the answers to the questions of one form, in order; `boxes` is how the model writes boxes."""
    form = FORMS[questions[0].form]
    assert len(questions) == len(answers) and all(one.form == form.name for one in questions)
    parsed = tuple(_parsed(*pair, boxes) for pair in zip(questions, answers, strict=True))
    refusals = tuple(
        is_refusal(answer) and (said is None or form.answered_by == "text")
        for said, answer in zip(parsed, answers, strict=True)
    )
    if any(question.is_hidden for question in questions):
        return Judgement(form, parsed, (), (), refusals, {})
    judged = _JUDGES.get(form.name, _judge_texts)
    scores, metrics = judged(questions, parsed)
    return Judgement(form, parsed, tuple(scores), tuple(metrics), refusals, _chance(questions, form))


def _parsed(question: Question, answer: str, boxes: BoxConvention) -> str | None:
    """What an answer says, as text: a letter, yes or no, a box in pixels, or the text itself; None if nothing."""
    if question.form == "pope":
        return None if is_refusal(answer) else read_presence(answer)
    kind = FORMS[question.form].answered_by
    if kind == "letter":
        return read_letter(answer, question.options)
    if kind == "yes_no":
        return read_yes_no(answer)
    if kind == "box":
        box = read_box(answer, boxes, question.size)
        return None if box is None else ",".join(f"{one:.4f}" for one in box)
    return answer.strip() or None


_Judged = tuple[Sequence[float], list[Metric]]
_Questions = Sequence[Question]
_Parsed = Sequence[str | None]


def _categories(questions: _Questions) -> list[str]:
    return [one.category for one in questions]


def _judge_choices(questions: _Questions, parsed: _Parsed) -> _Judged:
    """Letters: accuracy of all rows, circular accuracy of groups, each by category."""
    scores = [float(said in one.answers) for said, one in zip(parsed, questions, strict=True)]
    groups = numbered([one.group for one in questions])
    vanilla = mean_metric("accuracy", scores, groups)
    metrics = [vanilla, *by_category(vanilla, _categories(questions))]
    if len(set(groups.tolist())) < len(questions) and questions[0].form == "letters":
        circular = all_right_metric("circular_accuracy", scores, groups)
        metrics = [circular, *metrics, *by_category(circular, _categories(questions))]
    if questions[0].form == "mmlu" and len(set(_categories(questions))) > 1:
        metrics.insert(1, macro_metric(vanilla, _categories(questions)))
    return scores, metrics


def _judge_pope(questions: _Questions, parsed: _Parsed) -> _Judged:
    truths, groups = [one.answers[0] for one in questions], numbered([one.group for one in questions])
    metrics = pope_metrics(parsed, truths, groups)
    return (
        [float(said == truth) for said, truth in zip(parsed, truths, strict=True)],
        [*metrics, *(part for one in metrics for part in by_category(one, _categories(questions)))],
    )


def _judge_mme(questions: _Questions, parsed: _Parsed) -> _Judged:
    scores = [float(said in one.answers) for said, one in zip(parsed, questions, strict=True)]
    return scores, mme_metrics(scores, _categories(questions), numbered([one.group for one in questions]))


_SCORES: dict[str, Callable[[str, Sequence[str]], float]] = {
    "vqa": vqa_score,
    "textvqa": vqa_score,
    "vizwiz": vqa_score,
    "gqa": gqa_score,
    "chartqa": relaxed_score,
    "docvqa": anls_score,
    "exact": exact_score,
}


def _judge_texts(questions: _Questions, parsed: _Parsed) -> _Judged:
    form, groups = FORMS[questions[0].form], numbered([one.group for one in questions])
    score = _SCORES[form.name]
    scores = [score(said or "", one.answers) for said, one in zip(parsed, questions, strict=True)]
    metric = mean_metric(form.main, scores, groups)
    metrics = [metric, *by_category(metric, _categories(questions))]
    if form.name == "chartqa":
        lenient = [_number_score(said or "", one.answers) for said, one in zip(parsed, questions, strict=True)]
        metrics.append(mean_metric("relaxed_accuracy_of_sentences", np.maximum(scores, lenient), groups))
    return scores, metrics


def _number_score(answer: str, truths: Sequence[str]) -> float:
    """ChartQA's score of the only number in a sentence, where the truth is a number."""
    number = read_number(answer)
    wanted = [one for one in truths if plain_number(one) is not None]
    return relaxed_score(repr(number), wanted) if number is not None and wanted else 0.0


def _judge_boxes(questions: _Questions, parsed: _Parsed) -> _Judged:
    groups = numbered([one.group for one in questions])
    shares = []
    for question, said in zip(questions, parsed, strict=True):
        assert question.box is not None
        left, top, right, bottom = (float(one) for one in said.split(",")) if said else (0.0, 0.0, 0.0, 0.0)
        shares.append(overlap((left, top, right, bottom), question.box))
    found = mean_metric("acc_at_0.5", [float(share >= 0.5) for share in shares], groups)
    mean = mean_metric("mean_iou", shares, groups)
    parts = [part for one in (found, mean) for part in by_category(one, _categories(questions))]
    return shares, [found, mean, *parts]


def _judge_captions(questions: _Questions, parsed: _Parsed) -> _Judged:
    answers = [caption_words(said or "") for said in parsed]
    references = [[caption_words(one) for one in question.answers] for question in questions]
    metrics = caption_metrics(answers, references, numbered([one.group for one in questions]))
    return metrics[0].statistics[:, 0].tolist(), metrics


_JUDGES: dict[str, Callable[[_Questions, _Parsed], _Judged]] = {
    "letters": _judge_choices,
    "mmlu": _judge_choices,
    "pope": _judge_pope,
    "mme": _judge_mme,
    "refcoco": _judge_boxes,
    "captions": _judge_captions,
}


def _chance(questions: _Questions, form: Form) -> dict[str, float]:
    """What guessing reaches in expectation: letters of the options, or yes and no, drawn with equal probability."""
    if form.answered_by == "yes_no":
        return {"accuracy": 0.5, "yes_share": 0.5} if form.name == "pope" else {"acc": 0.5, "acc_plus": 0.25}
    if form.answered_by != "letter":
        return {}
    shares = np.array([1 / len(one.options) for one in questions])
    groups = numbered([one.group for one in questions])
    together = np.ones(int(groups.max()) + 1)
    np.multiply.at(together, groups, shares)
    found = {"accuracy": float(shares.mean())}
    return found | ({"circular_accuracy": float(together.mean())} if len(together) < len(questions) else {})
