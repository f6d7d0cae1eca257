"""Questions of benchmarks are put to a model, with and without their images, judged, and reported."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm.errors import DataError
from llm.files.atomic_files import write_atomically
from llm.files.folder_mark import Claim, claim
from llm.formats.conversation import Message, MessagePart
from llm.i18n.translate import Language
from llm.log import logger
from vlm.evaluate.answer_journal import AnswerJournal
from vlm.evaluate.answerer import Answer, Answerer, Prompt
from vlm.questions.forms import FORMS, Judgement, choices, judge
from vlm.questions.prompts import messages
from vlm.questions.prompts import prompt as prompt_text
from vlm.questions.question import Question, QuestionSet
from vlm.reports.answer_rows import AnswerRow, answer_rows, as_lines
from vlm.reports.html_page import html_page
from vlm.reports.markdown import markdown
from vlm.reports.submission import TSV, XLSX, wants_submission, write_submission
from vlm.reports.summary import Benchmark, as_json, summarise
from vlm.reports.worst_cases import worst_cases
from vlm.scores.boxes import UNIT, BoxConvention

JOURNAL, REPORT, MARKDOWN, CHINESE, PAGE = ("partial.jsonl", "report.json", "report.md", "report.zh.md", "report.html")
BENCHMARK = Claim(
    kind="benchmark",
    files=(JOURNAL, REPORT, MARKDOWN, CHINESE, PAGE, XLSX, TSV, *(f"answers-{form}.jsonl" for form in FORMS)),
    earlier=lambda folder: False,
)
"""Files that an evaluation on benchmarks writes into its folder."""
Show = Callable[[int, int], None]
"""Called with the prompts that are answered, and all."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How questions are asked. `lang` of instructions: None for each question's own; `boxes` as the model writes them.

    `blind`: questions with images are asked again without them.
    """

    lang: Language | None = None
    boxes: BoxConvention = UNIT
    blind: bool = True


AS_WRITTEN = Asking()


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """The results of one set of questions; `judged` is what two models are compared by."""

    asked: QuestionSet
    judged: Judgement
    benchmark: Benchmark
    rows: tuple[AnswerRow, ...]


def run_benchmarks(
    answerer: Answerer,
    model: str,
    sets: Sequence[QuestionSet],
    out: Path,
    asking: Asking = AS_WRITTEN,
    show: Show = lambda done, total: None,
) -> list[BenchmarkResult]:
    """Ask, judge and write the report into `out`. `model` identifies the weights: other ones begin anew.

    Raises RunError for a folder that is not an evaluation's, DataError without questions, and what `answerer` raises.
    """
    if not any(one.questions for one in sets):
        raise DataError("no question is left to ask. Name other files, or another split")
    claim(out, BENCHMARK)
    wanted = [(prompts_of(one, asking), prompts_of(one, asking, blind=True)) for one in sets]
    every = list(dict.fromkeys(prompt for pair in wanted for prompts in pair for prompt in prompts))
    with AnswerJournal(out / JOURNAL, _key(model, every)) as journal:
        found = ask_all(answerer, every, journal, show)
        numbers = {prompt: number for number, prompt in enumerate(every)}
        results = [
            _result(one, _of(seen, found, numbers), _of(blind, found, numbers), asking)
            for one, (seen, blind) in zip(sets, wanted, strict=True)
        ]
        write_report(answerer.name, results, out)
        journal.remove()
    return results


def _of(prompts: Sequence[Prompt], found: Mapping[int, Answer], numbers: Mapping[Prompt, int]) -> list[Answer]:
    return [found[numbers[prompt]] for prompt in prompts]


def ask_all(answerer: Answerer, prompts: Sequence[Prompt], journal: AnswerJournal, show: Show) -> Mapping[int, Answer]:
    """The answers to all prompts by their numbers: those that the journal has, and the model's to the others."""
    found = dict(journal.known)
    waiting = [number for number in range(len(prompts)) if number not in found]
    show(len(found), len(prompts))
    for place, answer in answerer.answers([prompts[number] for number in waiting]):
        found[waiting[place]] = answer
        journal.add(waiting[place], answer)
        show(len(found), len(prompts))
    return found


def write_report(name: str, results: Sequence[BenchmarkResult], out: Path) -> None:
    """Write answers, report.json, both Markdown files, the page and, for hidden letters, a submission into a folder."""
    benchmarks = [one.benchmark for one in results]
    for one in results:
        write_atomically(out / f"answers-{one.asked.form}.jsonl", as_lines(one.rows))
        if one.asked.form == "letters" and wants_submission(one.asked.questions):
            written = write_submission(out, one.asked.questions, [row.parsed or row.answer for row in one.rows])
            logger.info(f"to submit to the server that has the answers: {written}")
    worst = {one.benchmark.name: worst_cases(one.asked.questions, one.rows) for one in results}
    write_atomically(out / PAGE, html_page(name, benchmarks, worst))
    write_atomically(out / MARKDOWN, markdown(name, benchmarks))
    write_atomically(out / CHINESE, markdown(name, benchmarks, "zh"))
    write_atomically(out / REPORT, as_json(name, benchmarks))


def prompts_of(asked: QuestionSet, asking: Asking = AS_WRITTEN, blind: bool = False) -> list[Prompt]:
    """The prompts of a set; blind ones only where the question has images, and is scored."""
    if blind and not _is_asked_blind(asked, asking):
        return []
    return [
        Prompt(messages(one, asking.lang, asking.boxes, blind), choices(one), FORMS[one.form].tokens)
        for one in asked.questions
    ]


def _is_asked_blind(asked: QuestionSet, asking: Asking) -> bool:
    shown = any(has_images(one) for one in asked.questions)
    return asking.blind and shown and not any(one.is_hidden for one in asked.questions)


def has_images(question: Question) -> bool:
    """Whether a question shows an image or a video."""
    return bool(question.images) or any(not isinstance(part, str) for one in question.asked for part in one.parts)


def _result(asked: QuestionSet, answers: Sequence[Answer], blind: Sequence[Answer], asking: Asking) -> BenchmarkResult:
    texts = [one.text for one in answers]
    judged = judge(asked.questions, texts, asking.boxes)
    without = judge(asked.questions, [one.text for one in blind], asking.boxes) if blind else None
    named = QuestionSet(asked.form, asked.reason, asked.questions, asked.lost, (*asked.notes, *_notes(answers)))
    prompts = [prompt_text(one, asking.lang, asking.boxes) for one in asked.questions]
    rows = tuple(answer_rows(asked.questions, prompts, texts, judged))
    return BenchmarkResult(named, judged, summarise(FORMS[asked.form].title, named, judged, without), rows)


def _notes(answers: Sequence[Answer]) -> list[str]:
    """Why some questions have no answer, and how many."""
    counts = Counter(one.note for one in answers if one.note)
    return [f"{count:,} questions have no answer: {note}" for note, count in counts.items()]


def _key(model: str, prompts: Sequence[Prompt]) -> str:
    """A hash of what the answers depend on: the model's identity, and the prompts with their images."""
    found = hashlib.sha256(model.encode())
    for prompt in prompts:
        parts = [_identity(part) for message in prompt.messages for part in _with_role(message)]
        found.update(repr((parts, prompt.choices, prompt.new_tokens)).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def _with_role(message: Message) -> tuple[MessagePart, ...]:
    return (message.role, *message.parts)


def _identity(part: MessagePart) -> object:
    """A text; of an image or a video its content's hash, or path, size and time of the last change."""
    if isinstance(part, str):
        return part
    if part.data:
        return hashlib.sha256(part.data).hexdigest()
    path = Path(part.path)
    status = path.stat() if path.is_file() else None
    return (part.path, status.st_size, status.st_mtime_ns) if status else part.path
