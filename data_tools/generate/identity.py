"""An identity data set: many questions about who the assistant is, mixed with ordinary chat.

A model trained on ten thousand copies of one sentence produces nothing else. So questions and answers vary, half of the
records are ordinary chat, and the evaluation's paraphrases are not trained on. `identity_texts` holds the texts.
"""

import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.fill import one_line
from data_tools.generate.identity_texts import LanguageTexts, QaPair, Size, load_texts
from data_tools.generate.question_forms import Forms, normalised
from data_tools.rows.json_array import write_array
from llm.errors import ConfigError, RunError

LANGUAGES = ("en", "zh")
FILES = ("train.json", "held_out.json", "others.json", "about.json")
# Questions about the assistant or the user, between whom the model must learn to distinguish.
PERSONAL = re.compile(r"\b(i|me|my|we|our|you|your)\b|我|你|您", re.IGNORECASE)
IdentityRecord = dict[str, list[dict[str, str]]]  # {"messages": [{"role", "content"}, ...]}
Rehearse = Callable[[Sequence[QaPair]], Sequence[QaPair]]  # replaces the answers of ordinary questions


@dataclass(frozen=True, slots=True)
class IdentityData:
    """An identity data set.

    Args:
        train: Training records.
        held_out: Questions whose answers must contain the name; not trained on.
        others: Questions whose answers must not.
    """

    train: list[IdentityRecord]
    held_out: list[str]
    others: list[str]


def write_identity(
    name: str,
    author: str,
    lang: str,
    out: Path,
    seed: int = 0,
    rehearse: Rehearse = tuple,
    replace: bool = False,
    size: Size = "large",
) -> IdentityData:
    """Build a data set and write `train.json`, `held_out.json`, `others.json` and `about.json` to the folder `out`.

    Raises ConfigError when one of them exists, unless it is to be replaced, RunError when they cannot be written, and
    what `build_identity` raises.
    """
    there = [file for file in FILES if (out / file).exists()]
    if there and not replace:
        found = f"{out}: holds {', '.join(there)} already"
        raise ConfigError(f"{found}. Choose another folder, or add --replace to write over it")
    data = build_identity(name, author, lang, seed, rehearse, size)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_array(out / "train.json", data.train)
        write_array(out / "held_out.json", data.held_out)
        write_array(out / "others.json", data.others)
        about = json.dumps({"name": name, "author": author}, ensure_ascii=False)
        (out / "about.json").write_text(about + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{out}: {error.strerror}. Choose a writable folder") from error
    return data


def build_identity(
    name: str, author: str, lang: str, seed: int = 0, rehearse: Rehearse = tuple, size: Size = "large"
) -> IdentityData:
    """The data set for an assistant called `name`, made by `author`; deterministic in its arguments.

    `lang` is a language or several, as `zh,en`, with equally many records each. Every identity answer contains the
    name, no ordinary answer does. `rehearse` may replace the ordinary answers (`data_tools.generate.self_answers`).
    A `small` set has questions in their plain form, a `large` one of every kind and about three times as many records.
    Raises ConfigError for an unknown language or an empty name.
    """
    name, author = one_line("name", name), one_line("author", author)
    languages, dice = [load_texts(lang, size) for lang in _languages(lang)], random.Random(seed)
    ordinary = [[turn for turn in rehearse(texts.ordinary) if not _mentions(name, *turn)] for texts in languages]
    forms = [_forms(texts, name, author) for texts in languages]
    own = [
        _own(texts, turns, name, author, dice, form)
        for texts, turns, form in zip(languages, ordinary, forms, strict=True)
    ]
    count = max(map(len, own))
    rows: list[IdentityRecord] = []
    for texts, turns, about, form in zip(languages, ordinary, own, forms, strict=True):
        while len(about) < count:
            more = _own(texts, turns, name, author, dice, form)
            about += dice.sample(more, min(len(more), count - len(about)))
        rows += _distinct([*about, *_repeat(turns, count, texts, dice, form)], turns)
    dice.shuffle(rows)
    held_out = [question for texts in languages for question in _held_out(texts, name, author)]
    others = [question for texts in languages for question in texts.others if not _mentions(name, question)]
    return IdentityData(rows, held_out, others)


def _languages(lang: str) -> list[str]:
    """The languages in `lang`, without repetition, in the order of LANGUAGES."""
    named = {part.strip() for part in lang.split(",")}
    if not named <= set(LANGUAGES):
        raise ConfigError(f"lang: {lang!r} is unknown. Choose from {', '.join(LANGUAGES)}, or both: zh,en")
    return [language for language in LANGUAGES if language in named]


def _forms(texts: LanguageTexts, name: str, author: str) -> Forms:
    """The forms of a language's questions: without the name, and none that is kept for evaluation."""
    apart = frozenset(map(normalised, (*_held_out(texts, name, author), *texts.others)))
    return Forms(tuple(frame for frame in texts.frames if not _mentions(name, frame)), texts.careless, apart)


def _own(
    texts: LanguageTexts, ordinary: list[QaPair], name: str, author: str, dice: random.Random, forms: Forms
) -> list[IdentityRecord]:
    """The records of one language about the assistant's identity."""
    asked = forms.of(list(_identity_turns(texts, name, author, dice)), dice)
    dialogues = _dialogues(texts, name, author, dice)
    return [*_single(asked, texts, dice), *_several(asked, ordinary, texts, dice), *dialogues]


def _mentions(name: str, *texts: str) -> bool:
    return any(name.casefold() in text.casefold() for text in texts)


def _identity_turns(texts: LanguageTexts, name: str, author: str, dice: random.Random) -> Iterator[QaPair]:
    """Every training question with two answers; one with a `{wrong}` name with three answers and names."""
    for topic in texts.topics:
        wrongs = _without(topic.wrong_train, name, author)
        for question in topic.train:
            copies = min(len(topic.answers), 3 if "{wrong}" in question else 2)
            names = itertools.cycle(dice.sample(wrongs, len(wrongs)))
            for answer, wrong in zip(dice.sample(topic.answers, copies), names, strict=False):
                yield _filled(question, name, author, wrong), _filled(answer, name, author, wrong)


def _held_out(texts: LanguageTexts, name: str, author: str) -> Iterator[str]:
    """The held-out questions in order, with wrong names in rotation."""
    for topic in texts.topics:
        wrongs = _without(topic.wrong_held_out, name, author)
        for number, question in enumerate(topic.held_out):
            yield _filled(question, name, author, wrongs[number % len(wrongs)])


def _without(wrongs: tuple[str, ...], name: str, author: str) -> list[str]:
    """The names that are neither the assistant's nor its maker's."""
    own = {name.casefold(), author.casefold()}
    return [wrong for wrong in wrongs if wrong.casefold() not in own]


def _filled(text: str, name: str, author: str, wrong: str) -> str:
    """Replace the placeholders in one pass, since a name may contain braces."""
    values = {"{name}": name, "{author}": author, "{wrong}": wrong}
    return re.sub(r"\{(?:name|author|wrong)\}", lambda found: values[found[0]], text)


def _single(asked: list[QaPair], texts: LanguageTexts, dice: random.Random) -> Iterator[IdentityRecord]:
    """One identity question per record, every second record with a system prompt."""
    for number, turn in enumerate(asked):
        yield _row([turn], dice.choice(texts.system) if number % 2 else "")


def _several(
    asked: list[QaPair], ordinary: list[QaPair], texts: LanguageTexts, dice: random.Random
) -> Iterator[IdentityRecord]:
    """Records of two or three turns, with the identity question after, before, or between ordinary chat."""
    for number, turn in enumerate(dice.sample(asked, len(asked) // 4)):
        first, last = dice.sample(ordinary, 2)
        turns = ([first, turn], [turn, first], [first, turn, last])[number % 3]
        yield _row(turns, dice.choice(texts.system) if number % 2 else "")


def _repeat(
    ordinary: list[QaPair], count: int, texts: LanguageTexts, dice: random.Random, forms: Forms
) -> list[IdentityRecord]:
    """`count` records of ordinary chat, every second one with a system prompt.

    Turns occur about equally often, PERSONAL ones twice as often: there a model is prone to give its name.
    """
    pool = [*ordinary, *(turn for turn in ordinary if PERSONAL.search(turn[0]))]
    rounds = -(-count // len(pool))
    turns = forms.of([turn for _ in range(rounds) for turn in dice.sample(pool, len(pool))][:count], dice)
    return [_row([turn], dice.choice(texts.system) if n % 2 else "") for n, turn in enumerate(turns)]


def _dialogues(texts: LanguageTexts, name: str, author: str, dice: random.Random) -> Iterator[IdentityRecord]:
    """Every conversation twice, with two other assistants' names, once after a system prompt."""
    for dialogue in texts.dialogues:
        wrongs = _without(dialogue.wrongs, name, author)
        for system, wrong in zip(("", dice.choice(texts.system)), dice.sample(wrongs, 2), strict=True):
            turns = [[_filled(text, name, author, wrong) for text in turn] for turn in dialogue.turns]
            yield _row([(question, answer) for question, answer in turns], system)


def _distinct(rows: list[IdentityRecord], ordinary: list[QaPair]) -> list[IdentityRecord]:
    """The records, each once: one that occurs again continues with an ordinary question, another one each time."""
    seen: set[str] = set()
    kept: list[IdentityRecord] = []
    for number, row in enumerate(rows):
        later = (row, *({"messages": [*row["messages"], *_asked(*turn)]} for turn in _from(ordinary, number)))
        fresh = next((one for one in later if json.dumps(one) not in seen), row)
        seen.add(json.dumps(fresh))
        kept.append(fresh)
    return kept


def _from(ordinary: list[QaPair], start: int) -> list[QaPair]:
    """The questions and answers from one of them on, around the end of the list."""
    start %= len(ordinary)
    return [*ordinary[start:], *ordinary[:start]]


def _asked(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _row(turns: list[QaPair], system: str) -> IdentityRecord:
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in turns:
        messages += _asked(question, answer)
    return {"messages": messages}
