"""Files to train on: captions, questions about one drawing, about scenes and several images, and preference pairs.

English and Chinese records of one kind are about the same images. Only drawings of seen hands and only trained concepts
are in them, in images and in texts.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from data_tools.emoji import scenes as asked
from data_tools.emoji.captions import references, scene_references
from data_tools.emoji.concepts import LANGUAGES, Concept, Language, Similar
from data_tools.emoji.drawings import SEEN_STYLES, Style
from data_tools.emoji.images import ImageFolder
from data_tools.emoji.phrases import ORDINALS, Part, wording, yes_no
from data_tools.emoji.records import Record, about_one, llava, name_turn
from data_tools.emoji.scenes import Scene, Turn, make_scene
from data_tools.rows.json_array import write_array

SINGLE_TURNS = 3  # about one drawing, besides its name
SCENE_TURNS = 5


@dataclass(frozen=True, slots=True)
class TrainingSizes:
    """How many records there are of what is drawn at random."""

    scenes: int = 3000
    several: int = 900


@dataclass(frozen=True, slots=True)
class Training:
    """What the files are made of: trained concepts, their order at random, and the images to write."""

    concepts: tuple[Concept, ...]
    similar: Similar  # of the trained concepts
    images: ImageFolder
    seed: str
    sizes: TrainingSizes

    def rng(self, *parts: object) -> random.Random:
        """A generator of its own for each record, so that none depends on how many came before it."""
        return random.Random("-".join(map(str, (self.seed, "train", *parts))))


Shown = Sequence[tuple[Concept, Style, str]]  # a concept, its hand, and the image


def write_training(training: Training) -> list[Scene]:
    """Write all files; returns the scenes, whose concepts say which are frequent."""
    captioned = _show(training, "caption")
    named = _show(training, "name")
    scenes = _scenes(training)
    for language in LANGUAGES:
        files: Mapping[str, Iterator[Record]] = {
            "captions": _captions(training, captioned, scenes, language),
            "names": _names(training, captioned, language),
            "questions": _questions(training, named, language),
            "scenes": _scene_questions(training, scenes, language),
            "several": _several(training, named, language),
            "preferences": _preferences(training, named, language),
        }
        for name, records in files.items():
            write_array(training.images.folder / f"{name}.{language}.json", records)
    return [scene for scene, _ in scenes]


def _show(training: Training, purpose: str) -> list[tuple[Concept, Style, str]]:
    """Every trained concept by every seen hand, in a random order."""
    pairs = [(concept, style) for concept in training.concepts for style in SEEN_STYLES]
    training.rng("order", purpose).shuffle(pairs)
    return [(concept, style, training.images.single(concept, style, purpose)) for concept, style in pairs]


def _scenes(training: Training) -> list[tuple[Scene, str]]:
    found = []
    for number in range(training.sizes.scenes):
        rng = training.rng("scene", number)
        scene, image = make_scene(training.concepts, SEEN_STYLES, training.images.drawings, rng)
        found.append((scene, training.images.scene(scene, image, number)))
    return found


def _captions(
    training: Training, shown: Shown, scenes: Sequence[tuple[Scene, str]], language: Language
) -> Iterator[Record]:
    """One caption an image: of each drawing, then of a quarter as many scenes."""
    for concept, style, path in shown:
        rng = training.rng("caption", style, concept.code, language)
        caption = rng.choice(references(concept, language))
        turn = Turn("describe", wording(language, "describe", "train", rng), caption)
        yield llava(f"caption-{style}-{concept.code}-{language}", path, [turn])
    for number, (scene, path) in enumerate(scenes[: len(shown) // 4]):
        rng = training.rng("scene-caption", number, language)
        caption = rng.choice(scene_references(scene.concepts, language))
        turn = Turn("describe", wording(language, "describe", "train", rng), caption)
        yield llava(f"scene-caption-{number:05}-{language}", path, [turn])


def _names(training: Training, shown: Shown, language: Language) -> Iterator[Record]:
    """The name alone, of every concept by every seen hand: what the linear probe learns from."""
    for concept, style, path in shown:
        rng = training.rng("name", style, concept.code, language)
        turn = name_turn(concept, language, "train", rng)
        yield llava(f"name-{style}-{concept.code}-{language}", path, [turn])


def _questions(training: Training, shown: Shown, language: Language) -> Iterator[Record]:
    for concept, style, path in shown:
        rng = training.rng("question", style, concept.code, language)
        others = about_one(concept, training.similar, language, "train", rng)
        turns = [name_turn(concept, language, "train", rng), *rng.sample(others, SINGLE_TURNS)]
        rng.shuffle(turns)
        yield llava(f"question-{style}-{concept.code}-{language}", path, turns)


def _scene_questions(training: Training, scenes: Sequence[tuple[Scene, str]], language: Language) -> Iterator[Record]:
    for number, (scene, path) in enumerate(scenes):
        rng = training.rng("scene-question", number, language)
        shown = {concept.code for concept in scene.concepts}
        absent = [concept for concept in training.concepts if concept.code not in shown]
        turns = [
            *asked.counting(scene, language, "train", rng),
            *asked.left_right(scene, language, "train", rng),
            *asked.boxes(scene, language, "train", rng),
            *asked.there(scene, absent, language, "train", rng),
            asked.in_order(scene, language, "train", rng),
        ]
        yield llava(f"scene-{number:05}-{language}", path, rng.sample(turns, SCENE_TURNS))


def _several(training: Training, shown: Shown, language: Language) -> Iterator[Record]:
    for number in range(training.sizes.several):
        rng = training.rng("several", number, language)
        yield several_record(f"several-{number:05}-{language}", shown, language, "train", rng)


def several_record(name: str, shown: Shown, language: Language, part: Part, rng: random.Random) -> Record:
    """Two or three images: which of them shows a thing, or whether two of them show the same."""
    return (_pick if rng.random() < 0.5 else _same)(name, shown, language, part, rng)


def _pick(name: str, shown: Shown, language: Language, part: Part, rng: random.Random) -> Record:
    count = rng.randint(2, len(ORDINALS[language]))
    chosen = rng.sample(list(shown), count)
    while len({concept.code for concept, *_ in chosen}) < count:
        chosen = rng.sample(list(shown), count)
    at = rng.randrange(count)
    question = wording(language, "pick", part, rng, a=chosen[at][0].names[language])
    return llava(name, [path for *_, path in chosen], [Turn("pick", question, ORDINALS[language][at])], "pick")


def _same(name: str, shown: Shown, language: Language, part: Part, rng: random.Random) -> Record:
    """Half of them twice the same concept in different images, of a concept that `shown` has several images of."""
    counts = Counter(concept.code for concept, *_ in shown)
    first = rng.choice([one for one in shown if counts[one[0].code] > 1])
    same = rng.random() < 0.5
    second = rng.choice([one for one in shown if (one[0].code == first[0].code) == same and one[2] != first[2]])
    turn = Turn("same", wording(language, "same", part, rng), yes_no(language, same))
    return llava(name, [first[2], second[2]], [turn], "same")


def _preferences(training: Training, shown: Shown, language: Language) -> Iterator[Record]:
    """One pair a concept: its name, and the name of the most similar concept."""
    seen: set[str] = set()
    for concept, style, path in shown:
        if concept.code in seen:
            continue
        seen.add(concept.code)
        rng = training.rng("preference", concept.code, language)
        wrong = training.similar.to(concept)[0]
        yield {
            "id": f"preference-{style}-{concept.code}-{language}",
            "prompt": wording(language, "name", "train", rng),
            "chosen": concept.names[language],
            "rejected": wrong.names[language],
            "image": path,
        }
