"""Evaluate the assistant's identity: hits, leaks and retained ability, each a fraction of greedy answers."""

import json
from dataclasses import dataclass
from pathlib import Path

from llm.chat.chat_model import ChatModel, question
from llm.chat.sampling import Sampling
from llm.errors import DataError, Place, RecordError
from llm.files.regular_files import TEXT, read_text

BATCH = 64  # questions per batch: the weights are read once per token for all of them


@dataclass(frozen=True, slots=True)
class IdentityQuestions:
    """Three sets: held-out questions about the identity, other questions, and general knowledge with its answers."""

    paraphrases: list[str]
    others: list[str]
    general: list[tuple[str, tuple[str, ...]]]  # question and accepted spellings of its answer


def read_identity(paraphrases: Path, others: Path | None, general: Path | None) -> IdentityQuestions:
    """Read the three JSON lists, of which two may be left out.

    Raises DataError for an unreadable file, RecordError for an invalid entry.
    """
    pairs = []
    for index, row in enumerate(_list(general) if general else []):
        if not isinstance(row, dict) or not {"question", "answer"} <= row.keys():
            raise RecordError(
                Place(str(general), id=str(index)),
                "general",
                f"found {row!r}",
                'Write {"question": .., "answer": ..}',
                "field-missing",
            )
        spellings = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        pairs.append((str(row["question"]), tuple(str(spelling) for spelling in spellings)))
    asked, other = _list(paraphrases), _list(others) if others else []
    return IdentityQuestions([str(row) for row in asked], [str(row) for row in other], pairs)


def _list(path: Path) -> list[object]:
    if not path.exists():
        raise DataError(f"{path} does not exist. `eyegraft data identity` writes such lists")
    try:
        rows = json.loads(read_text(path, TEXT, "utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON: {error}. `eyegraft data identity` writes such a list"
        ) from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: a JSON list with at least one entry is needed, found {type(rows).__name__}")
    return rows


def ask_all(chat_model: ChatModel, questions: list[str], max_new_tokens: int) -> list[str]:
    """Greedy answers in the order of the questions; questions of similar length share a batch."""
    sampling = Sampling(max_new_tokens=max_new_tokens)
    order = sorted(range(len(questions)), key=lambda index: len(questions[index]))
    answers = [""] * len(questions)
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        for index, answer in zip(
            chunk, chat_model.answers([question(questions[i]) for i in chunk], sampling), strict=True
        ):
            answers[index] = answer
    return answers


def evaluate_identity(
    base: ChatModel, tuned: ChatModel, questions: IdentityQuestions, name: str, max_new_tokens: int
) -> tuple[dict[str, float], list[dict[str, str]]]:
    """The metrics of report.json, and all answers they are computed from.

    Sets without questions give no metric.
    `retained_ability` is the fraction of the general questions answered correctly by `base` that `tuned` still answers.
    """
    rows: list[dict[str, str]] = []

    def ask(chat_model: ChatModel, who: str, kind: str, texts: list[str]) -> list[str]:
        answers = ask_all(chat_model, texts, max_new_tokens)
        rows.extend(
            {"model": who, "kind": kind, "question": text, "answer": answer}
            for text, answer in zip(texts, answers, strict=True)
        )
        return answers

    before = ask(base, "base", "identity", questions.paraphrases)
    after = ask(tuned, "tuned", "identity", questions.paraphrases)
    metrics: dict[str, float] = {
        "identity_hit_before": _fraction([_contains(answer, name) for answer in before]),
        "identity_hit_after": _fraction([_contains(answer, name) for answer in after]),
    }
    if questions.others:
        leaks = ask(tuned, "tuned", "other", questions.others)
        metrics["identity_leak"] = _fraction([_contains(answer, name) for answer in leaks])
    if not questions.general:
        return metrics, rows
    general, wanted = [text for text, _ in questions.general], [answer for _, answer in questions.general]
    knew = _correct(ask(base, "base", "general", general), wanted)
    if not any(knew):
        raise DataError("the base model answers none of the general questions: retained ability cannot be measured")
    knows = _correct(ask(tuned, "tuned", "general", general), wanted)
    metrics["retained_ability"] = _fraction([now for now, then in zip(knows, knew, strict=True) if then])
    metrics["general_questions_base_knew"] = sum(knew)
    return metrics, rows


def _correct(answers: list[str], wanted: list[tuple[str, ...]]) -> list[bool]:
    return [_contains(answer, *spellings) for answer, spellings in zip(answers, wanted, strict=True)]


def _contains(answer: str, *spellings: str) -> bool:
    return any(spelling.casefold() in answer.casefold() for spelling in spellings)


def _fraction(values: list[bool]) -> float:
    return round(sum(values) / len(values), 4)
