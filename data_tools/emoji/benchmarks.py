"""Tests in the forms of known benchmarks, for one condition: MMBench, POPE, RefCOCO, COCO captions, and questions.

Three conditions: drawings of a hand that was never trained on, concepts that were never trained on, and new images of
what was.
"""

import base64
import csv
import io
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_tools.emoji import scenes as asked
from data_tools.emoji.canvas import SCENE, SINGLE
from data_tools.emoji.captions import references, scene_references
from data_tools.emoji.concepts import LANGUAGES, Concept, Language, Similar
from data_tools.emoji.drawings import Style
from data_tools.emoji.images import ImageFolder
from data_tools.emoji.phrases import LETTERS, wording
from data_tools.emoji.records import OPTIONS, Record, llava, name_turn, shuffled_options
from data_tools.emoji.scenes import Scene, make_scene
from data_tools.emoji.training import several_record
from data_tools.rows.json_array import write_array
from llm.files.atomic_files import write_atomically

ConditionName = Literal["style", "concepts", "seen"]
Setting = Literal["random", "popular", "adversarial"]
SETTINGS: tuple[Setting, ...] = ("random", "popular", "adversarial")
AGAIN = 5  # one concept of so many has a second image, of which pairs are made
ASKED = 3  # objects that are there, and as many that are not, an image (POPE)


@dataclass(frozen=True, slots=True)
class TestSizes:
    """How many records a file has, where it is not one a concept."""

    choices: int = 600
    scenes: int = 300
    pope_scenes: int = 100
    several: int = 200
    captions: int = 400


@dataclass(frozen=True, slots=True)
class Condition:
    """What is tested: `concepts` as drawn by `styles`."""

    name: ConditionName
    concepts: tuple[Concept, ...]
    styles: tuple[Style, ...]
    similar: Similar  # where similar names come from
    popular: tuple[Concept, ...]  # the trained concepts, the most frequent first
    images: ImageFolder
    seed: str
    sizes: TestSizes

    def rng(self, *parts: object) -> random.Random:
        """A generator for one record."""
        return random.Random("-".join(map(str, (self.seed, "test", self.name, *parts))))


Shown = Sequence[tuple[Concept, Style, str]]
Scenes = Sequence[tuple[Scene, str]]


def popular_first(scenes: Sequence[Scene], known: Sequence[Concept]) -> tuple[Concept, ...]:
    """The concepts by how many training scenes they are in."""
    counts = Counter(concept.code for scene in scenes for concept in scene.different)
    return tuple(sorted(known, key=lambda concept: (-counts[concept.code], concept.code)))


def write_tests(condition: Condition) -> None:
    """Write the files of a condition in both languages."""
    shown, scenes = _show(condition, "test", condition.concepts), _scenes(condition)
    again = _show(condition, "again", condition.concepts[::AGAIN])
    folder = condition.images.folder
    for language in LANGUAGES:
        write_array(folder / f"names.{language}.json", _names(condition, shown, language))
        write_array(folder / f"counting.{language}.json", _scene_questions(condition, scenes, language, "counting"))
        write_array(folder / f"left_right.{language}.json", _scene_questions(condition, scenes, language, "left_right"))
        write_array(folder / f"several.{language}.json", _several(condition, [*shown, *again], language))
        _write_choices(condition, shown, language)
        _write_lines(folder / f"refcoco.{language}.jsonl", _refcoco(condition, scenes, language))
        for setting in SETTINGS:
            _write_lines(folder / f"pope_{setting}.{language}.jsonl", _pope(condition, scenes, language, setting))
        text = json.dumps(_captions(condition, shown, scenes, language), ensure_ascii=False)
        write_atomically(folder / f"captions.{language}.json", text)


def _write_lines(path: Path, rows: Iterator[Record]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _show(condition: Condition, purpose: str, concepts: Sequence[Concept]) -> list[tuple[Concept, Style, str]]:
    """Every concept once, by the hands in turn, in a random order."""
    order = list(concepts)
    condition.rng("order", purpose).shuffle(order)
    hands = [condition.styles[at % len(condition.styles)] for at in range(len(order))]
    return [
        (concept, style, condition.images.single(concept, style, purpose))
        for concept, style in zip(order, hands, strict=True)
    ]


def _scenes(condition: Condition) -> list[tuple[Scene, str]]:
    found = []
    for number in range(condition.sizes.scenes):
        rng = condition.rng("scene", number)
        scene, image = make_scene(condition.concepts, condition.styles, condition.images.drawings, rng)
        found.append((scene, condition.images.scene(scene, image, number)))
    return found


def _names(condition: Condition, shown: Shown, language: Language) -> Iterator[Record]:
    for concept, style, path in shown:
        rng = condition.rng("name", concept.code, language)
        turn = name_turn(concept, language, "test", rng)
        yield llava(f"name-{style}-{concept.code}-{language}", path, [turn], turn.kind)


def _scene_questions(
    condition: Condition, scenes: Scenes, language: Language, task: Literal["counting", "left_right"]
) -> Iterator[Record]:
    """One record a question, with its kind as `type`."""
    ask = {"counting": asked.counting, "left_right": asked.left_right}[task]
    for number, (scene, path) in enumerate(scenes):
        for turn in ask(scene, language, "test", condition.rng(task, number, language)):
            yield llava(f"{turn.kind}-{number:05}-{language}", path, [turn], turn.kind)


def _several(condition: Condition, shown: Shown, language: Language) -> Iterator[Record]:
    """About images of the other tests, and second images of some of their concepts; no images are asked about twice."""
    known: set[str] = set()
    for number in range(condition.sizes.several):
        rng = condition.rng("several", number, language)
        record = several_record(f"several-{number:05}-{language}", shown, language, "test", rng)
        images = str(record["image"])
        if images not in known:
            known.add(images)
            yield record


def _write_choices(condition: Condition, shown: Shown, language: Language) -> None:
    """MMBench's TSV: a question with four names, three of them of similar concepts."""
    columns = ("index", "question", "hint", *LETTERS[:OPTIONS], "answer", "category", "l2-category", "split", "image")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    for index, (concept, _, path) in enumerate(shown[: condition.sizes.choices]):
        rng = condition.rng("choice", concept.code, language)
        options = shuffled_options(concept, _distractors(condition, concept), rng)
        question = wording(language, "letter", "test", rng)
        image = base64.b64encode((condition.images.folder / path).read_bytes()).decode()
        names = [one.names[language] for one in options]
        about = (concept.category(language), concept.broad_group(language), "test")
        writer.writerow((index, question, "", *names, LETTERS[options.index(concept)], *about, image))
    write_atomically(condition.images.folder / f"mmbench.{language}.tsv", text.getvalue())


def _distractors(condition: Condition, concept: Concept) -> list[Concept]:
    """At least three concepts of the same subgroup, filled up with the most similar of the group."""
    near = condition.similar.to(concept)
    same = [other for other in near if other.subgroup == concept.subgroup]
    return same if len(same) >= OPTIONS - 1 else near[: OPTIONS - 1]


def _pope(condition: Condition, scenes: Scenes, language: Language, setting: Setting) -> Iterator[Record]:
    """Yes/no questions about an object's presence, half of them about one that is not there."""
    number = 0
    for at, (scene, path) in enumerate(scenes[: condition.sizes.pope_scenes]):
        rng = condition.rng("pope", at, language, setting)
        present = rng.sample(list(scene.different), min(ASKED, len(scene.different)))
        absent = _absent(condition, scene, setting, rng)
        for one, other in zip(present, absent, strict=False):  # as many of each
            for concept, label in ((one, "yes"), (other, "no")):
                number += 1
                text = wording(language, "there", "test", rng, a=concept.names[language])
                yield {"question_id": number, "image": path, "text": text, "label": label}


def _absent(condition: Condition, scene: Scene, setting: Setting, rng: random.Random) -> list[Concept]:
    """Concepts that are not in the scene: any, the most frequent of training, or the most similar to those there."""
    shown = {concept.code for concept in scene.concepts}
    if setting == "adversarial":
        ranked = [condition.similar.to(concept) for concept in scene.different]
        mixed = [one for rank in zip(*ranked, strict=True) for one in rank if one.code not in shown]
        return list(dict.fromkeys(mixed))
    among = condition.popular if setting == "popular" else condition.concepts
    left = [concept for concept in among if concept.code not in shown]
    return left if setting == "popular" else rng.sample(left, len(left))


def _refcoco(condition: Condition, scenes: Scenes, language: Language) -> Iterator[Record]:
    """One box a scene, in pixels, with the size of the image and the question that asks for it."""
    for at, (scene, path) in enumerate(scenes):
        if not scene.single:
            continue
        rng = condition.rng("box", at, language)
        concept, box = rng.choice(scene.single)
        name = concept.names[language]
        question = wording(language, "box", "test", rng, a=name)
        yield {
            "question_id": at,
            "image": path,
            "sent": name,
            "question": question,
            "bbox": list(box),
            "width": SCENE,
            "height": SCENE,
        }


def _captions(condition: Condition, shown: Shown, scenes: Scenes, language: Language) -> Record:
    """COCO's captions file: several captions an image, three quarters of the images with one drawing."""
    singles = condition.sizes.captions * 3 // 4
    captioned: list[tuple[str, int, tuple[str, ...]]] = [
        (path, SINGLE, references(concept, language)) for concept, _, path in shown[:singles]
    ]
    for scene, path in scenes[: condition.sizes.captions - singles]:
        captioned.append((path, SCENE, scene_references(scene.concepts, language)))
    images = [
        {"id": number, "file_name": path, "width": side, "height": side}
        for number, (path, side, _) in enumerate(captioned, 1)
    ]
    pairs = [(number, text) for number, (_, _, texts) in enumerate(captioned, 1) for text in texts]
    annotations = [{"id": at, "image_id": number, "caption": text} for at, (number, text) in enumerate(pairs, 1)]
    prompt = wording(language, "describe", "test", condition.rng("describe", language))
    about = {"description": "emoji", "prompt": prompt}
    return {"info": about, "images": images, "annotations": annotations}
