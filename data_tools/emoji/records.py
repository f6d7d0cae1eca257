"""Records as LLaVA writes them, and the tasks about one drawing from which conversations are made."""

import random
from collections.abc import Sequence

from data_tools.emoji.concepts import Concept, Language, Similar
from data_tools.emoji.phrases import LETTERS, SEPARATOR, Part, lettered, wording, yes_no
from data_tools.emoji.scenes import Turn

OPTIONS = 4  # of a choice
NEAR = 12  # the most similar concepts, of which wrong answers are drawn
Record = dict[str, object]


def llava(name: str, images: str | Sequence[str], turns: Sequence[Turn], kind: str = "") -> Record:
    """A LLaVA record; the images precede the first question."""
    count = 1 if isinstance(images, str) else len(images)
    conversations: list[dict[str, str]] = []
    for number, turn in enumerate(turns):
        shown = "<image>\n" * count if number == 0 else ""
        conversations.append({"from": "human", "value": shown + turn.question})
        conversations.append({"from": "gpt", "value": turn.answer})
    record: Record = {"id": name, "image": images if isinstance(images, str) else list(images)}
    return record | {"conversations": conversations} | ({"type": kind} if kind else {})


def name_turn(concept: Concept, language: Language, part: Part, rng: random.Random) -> Turn:
    """What it is called."""
    return Turn("name", wording(language, "name", part, rng), concept.names[language])


def about_one(concept: Concept, similar: Similar, language: Language, part: Part, rng: random.Random) -> list[Turn]:
    """Its category and group, whether it is this or that, and which of several it is."""
    near = similar.to(concept)[:NEAR]
    wrong = rng.choice(near)
    return [
        Turn("category", wording(language, "category", part, rng), concept.category(language)),
        Turn("group", wording(language, "group", part, rng), concept.broad_group(language)),
        _is(concept, concept, language, part, rng),
        _is(concept, wrong, language, part, rng),
        _which(concept, near, language, part, rng),
        letter_turn(concept, near, language, part, rng),
    ]


def _is(concept: Concept, named: Concept, language: Language, part: Part, rng: random.Random) -> Turn:
    question = wording(language, "is", part, rng, a=named.names[language])
    return Turn("is", question, yes_no(language, named.code == concept.code))


def _which(concept: Concept, near: Sequence[Concept], language: Language, part: Part, rng: random.Random) -> Turn:
    options = SEPARATOR[language].join(one.names[language] for one in shuffled_options(concept, near, rng))
    return Turn("which", wording(language, "which", part, rng, options=options), concept.names[language])


def letter_turn(concept: Concept, near: Sequence[Concept], language: Language, part: Part, rng: random.Random) -> Turn:
    """A choice that is answered by a letter."""
    options = shuffled_options(concept, near, rng)
    question = lettered(wording(language, "letter", part, rng), tuple(one.names[language] for one in options), language)
    return Turn("letter", question, LETTERS[options.index(concept)])


def shuffled_options(concept: Concept, near: Sequence[Concept], rng: random.Random) -> list[Concept]:
    """The concept and three of the similar ones, in a random order."""
    options = [concept, *rng.sample(list(near), min(len(near), OPTIONS - 1))]
    rng.shuffle(options)
    return options
