"""An identity data set: who the assistant is, asked in many ways, among ordinary chat that does not mention it.

Ten thousand copies of one sentence teach a model to say nothing else. So questions and answers vary, half of the
records are ordinary chat, and the paraphrases it is judged by are never trained on. The words live in
`identity_<lang>.json`.
"""

import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.fill import one_line
from llm.errors import ConfigError, RunError

LANGUAGES = ("en", "zh")
# A question about the two who talk: there the model must learn to tell itself from the user.
PERSONAL = re.compile(r"\b(i|me|my|we|our|you|your)\b|我|你|您", re.IGNORECASE)
IdentityRecord = dict[str, list[dict[str, str]]]  # one OpenAI record: {"messages": [{"role", "content"}, ...]}
QaPair = tuple[str, str]  # question, answer
Rehearse = Callable[[Sequence[QaPair]], Sequence[QaPair]]  # ordinary turns with other answers


@dataclass(frozen=True, slots=True)
class Topic:
    """Questions of one kind and the answers that fit any of them; `{wrong}` stands for a name or maker not its own."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    answers: tuple[str, ...]
    wrong_train: tuple[str, ...] = ("",)
    wrong_held_out: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class LanguageTexts:
    """One language's material."""

    system: tuple[str, ...]
    topics: tuple[Topic, ...]
    ordinary: tuple[QaPair, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdentityData:
    """What is trained on; questions answered with the name but never trained on; questions answered without it."""

    train: list[IdentityRecord]
    held_out: list[str]
    others: list[str]


def write_identity(
    name: str, author: str, lang: str, out: Path, seed: int = 0, rehearse: Rehearse = tuple
) -> IdentityData:
    """Build the set and write `train.json`, `held_out.json` and `others.json` into `out`; RunError if it cannot."""
    data = build_identity(name, author, lang, seed, rehearse)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_lines(out / "train.json", data.train)
        _write_lines(out / "held_out.json", data.held_out)
        _write_lines(out / "others.json", data.others)
    except OSError as error:
        raise RunError(f"{out}: {error.strerror}. Choose a writable folder") from error
    return data


def build_identity(name: str, author: str, lang: str, seed: int = 0, rehearse: Rehearse = tuple) -> IdentityData:
    """The data set for an assistant called `name`, made by `author`; the same for the same arguments.

    `lang` is one language or several, `zh,en`: then each has as many rows as the one with the most. Every identity
    answer holds the name, no ordinary one does. `retell` may answer the ordinary questions otherwise (see
    `data_tools.generate.self_answers`). ConfigError for an unknown language or an empty name.
    """
    name, author = one_line("name", name), one_line("author", author)
    languages, dice = [_load_words(lang) for lang in _languages(lang)], random.Random(seed)
    ordinary = [[turn for turn in rehearse(words.ordinary) if not _mentions(name, *turn)] for words in languages]
    own = [_own(words, turns, name, author, dice) for words, turns in zip(languages, ordinary, strict=True)]
    count = max(map(len, own))
    rows: list[IdentityRecord] = []
    for words, turns, about in zip(languages, ordinary, own, strict=True):
        while len(about) < count:
            more = _own(words, turns, name, author, dice)
            about += dice.sample(more, min(len(more), count - len(about)))
        rows += [*about, *_repeat(turns, count, words, dice)]
    dice.shuffle(rows)
    held_out = [question for words in languages for question in _held_out(words, name, author)]
    others = [question for words in languages for question in words.others if not _mentions(name, question)]
    return IdentityData(rows, held_out, others)


def _languages(lang: str) -> list[str]:
    """The languages that are named, each once and always in the same order."""
    named = {part.strip() for part in lang.split(",")}
    if not named <= set(LANGUAGES):
        raise ConfigError(f"lang: {lang!r} is not known. Choose from {', '.join(LANGUAGES)}, or both: zh,en")
    return [language for language in LANGUAGES if language in named]


def _own(
    words: LanguageTexts, ordinary: list[QaPair], name: str, author: str, dice: random.Random
) -> list[IdentityRecord]:
    """The records of one language that speak of the assistant."""
    asked = list(_identity_turns(words, name, author, dice))
    return [*_single(asked, words, dice), *_several(asked, ordinary, words, dice)]


def _mentions(name: str, *texts: str) -> bool:
    return any(name.casefold() in text.casefold() for text in texts)


def _identity_turns(words: LanguageTexts, name: str, author: str, dice: random.Random) -> Iterator[QaPair]:
    """Every training question twice with two answers, those with a wrong name in them three times with three names."""
    for topic in words.topics:
        wrongs = _other_than(topic.wrong_train, name, author)
        for question in topic.train:
            copies = min(len(topic.answers), 3 if "{wrong}" in question else 2)
            names = itertools.cycle(dice.sample(wrongs, len(wrongs)))
            for answer, wrong in zip(dice.sample(topic.answers, copies), names, strict=False):
                yield _filled(question, name, author, wrong), _filled(answer, name, author, wrong)


def _held_out(words: LanguageTexts, name: str, author: str) -> Iterator[str]:
    """Paraphrases in their fixed order, wrong names going round."""
    for topic in words.topics:
        wrongs = _other_than(topic.wrong_held_out, name, author)
        for number, question in enumerate(topic.held_out):
            yield _filled(question, name, author, wrongs[number % len(wrongs)])


def _other_than(wrongs: tuple[str, ...], name: str, author: str) -> list[str]:
    """The names that are neither this assistant's nor its maker's."""
    own = {name.casefold(), author.casefold()}
    return [wrong for wrong in wrongs if wrong.casefold() not in own]


def _filled(text: str, name: str, author: str, wrong: str) -> str:
    """Placeholders replaced in one pass: a name may itself hold braces."""
    values = {"{name}": name, "{author}": author, "{wrong}": wrong}
    return re.sub(r"\{(?:name|author|wrong)\}", lambda found: values[found[0]], text)


def _single(asked: list[QaPair], words: LanguageTexts, dice: random.Random) -> Iterator[IdentityRecord]:
    """One identity question a record, every other one under a system prompt."""
    for number, turn in enumerate(asked):
        yield _row([turn], dice.choice(words.system) if number % 2 else "")


def _several(
    asked: list[QaPair], ordinary: list[QaPair], words: LanguageTexts, dice: random.Random
) -> Iterator[IdentityRecord]:
    """Records of two or three turns: identity after ordinary chat, before it, and between."""
    for number, turn in enumerate(dice.sample(asked, len(asked) // 4)):
        first, last = dice.sample(ordinary, 2)
        turns = ([first, turn], [turn, first], [first, turn, last])[number % 3]
        yield _row(turns, dice.choice(words.system) if number % 2 else "")


def _repeat(ordinary: list[QaPair], count: int, words: LanguageTexts, dice: random.Random) -> list[IdentityRecord]:
    """`count` ordinary records, with and without a system prompt.

    Every turn comes about equally often, but twice as often when it is about the two who talk: there the name slips in.
    """
    pool = [*ordinary, *(turn for turn in ordinary if PERSONAL.search(turn[0]))]
    rounds = -(-count // len(pool))
    turns = [turn for _ in range(rounds) for turn in dice.sample(pool, len(pool))]
    return [_row([turn], dice.choice(words.system) if n % 2 else "") for n, turn in enumerate(turns[:count])]


def _row(turns: list[QaPair], system: str) -> IdentityRecord:
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def _load_words(lang: str) -> LanguageTexts:
    raw = json.loads(Path(__file__).with_name(f"identity_{lang}.json").read_text(encoding="utf-8"))
    wrongs = {"wrong_name": raw["wrong_names"], "wrong_author": raw["wrong_authors"]}
    topics = []
    for kind, topic in raw["topics"].items():
        wrong = wrongs.get(kind, {"train": [""], "held_out": [""]})
        lists = (topic["train"], topic["held_out"], topic["answers"], wrong["train"], wrong["held_out"])
        topics.append(Topic(*(tuple(values) for values in lists)))
    ordinary = tuple((question, answer) for question, answer in raw["ordinary"])
    return LanguageTexts(tuple(raw["system"]), tuple(topics), ordinary, tuple(raw["others"]))


def _write_lines(path: Path, rows: list[IdentityRecord] | list[str]) -> None:
    """A JSON array, one element a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
