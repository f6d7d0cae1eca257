"""The world as made: equal bytes, no leak, right answers, in the forms of the benchmarks."""

import base64
import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.emoji.concepts import LANGUAGES, Similar, read_concepts
from data_tools.emoji.drawings import STYLES, Drawings
from data_tools.emoji.phrases import PHRASES, with_article
from data_tools.emoji.world import SEED
from llm.config.schema import Source
from llm.formats.pairs.pair_reading import read_pairs
from llm.formats.readers import read
from tests.data_tools.emoji.tiny_packages import COLOURS, FLAG, REPLACED, TONE, UNDRAWN
from vlm.vision.images import read_image

CONDITIONS = ("style", "concepts", "seen")
AGAIN = """
import sys
from pathlib import Path
from data_tools.emoji.world import build_emoji
from tests.data_tools.emoji.conftest import SIZES
build_emoji(Path(sys.argv[1]), Path(sys.argv[2]), SIZES)
"""


def rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = (
        [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    )
    return found


def choices(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def concepts_of(world: Path) -> list[dict[str, Any]]:
    return rows(world / "concepts.json")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_equal_packages_give_equal_bytes_in_another_process(packages: Path, world: Path, tmp_path: Path) -> None:
    again = tmp_path / "emoji"
    again.mkdir()
    environment = os.environ | {"PYTHONHASHSEED": "7"}  # sets in another order
    subprocess.run([sys.executable, "-c", AGAIN, str(packages), str(again)], check=True, env=environment)
    assert files_of(again) == files_of(world)


def test_what_is_no_concept_and_what_is_held_out(packages: Path, world: Path) -> None:
    found = concepts_of(world)
    assert len(found) == 40
    assert not {concept["code"].upper() for concept in found} & {UNDRAWN, FLAG, REPLACED, TONE}
    assert sum(concept["held_out"] for concept in found) == 4
    other = read_concepts(packages, lambda code: True, "another seed")
    assert UNDRAWN.lower() in {concept.code for concept in other}


def test_no_test_image_and_no_held_out_concept_is_in_training(world: Path) -> None:
    def pixels(folder: Path) -> set[bytes]:
        return {Image.open(file).convert("RGB").tobytes() for file in (folder / "images").iterdir()}

    trained = pixels(world / "train")
    assert len(trained) == 36 * 3 * 2 + 8
    for condition in CONDITIONS:
        assert not trained & pixels(world / condition)
    held = [concept for concept in concepts_of(world) if concept["held_out"]]
    texts = "".join(file.read_text(encoding="utf-8") for file in (world / "train").glob("*.json"))
    for concept in held:
        assert concept["names"]["en"] not in texts
        assert concept["names"]["zh"] not in texts
        assert concept["code"] not in texts
    assert "openmoji" not in texts
    assert {image.name.split("-")[1] for image in (world / "style" / "images").iterdir()} == {"openmoji"}


def test_tests_ask_in_other_words_than_training() -> None:
    for language in LANGUAGES:
        for kind, phrases in PHRASES[language].items():
            assert phrases.train and phrases.test, kind
            assert not set(phrases.train) & set(phrases.test), kind
        assert PHRASES[language].keys() == PHRASES["en"].keys()


def test_every_file_is_read_by_training(world: Path) -> None:
    count = 0
    for path in sorted(world.glob("*/*.json")):
        if path.name.startswith("captions") and path.parent.name != "train":
            continue
        if path.name.startswith("preferences"):
            pairs = list(read_pairs(Source(path=str(path)), Path.cwd()))
            assert len(pairs) == 36
            continue
        conversations = list(read(Source(path=str(path), format="llava"), Path.cwd()))
        assert conversations, path
        for conversation in conversations:
            count += 1
            for image in conversation.images:
                read_image(image)
    assert count > 300


def asked(path: Path) -> Iterator[tuple[dict[str, Any], str, str]]:
    for record in rows(path):
        turns = record["conversations"]
        for question, answer in zip(turns[::2], turns[1::2], strict=True):
            yield record, question["value"].removeprefix("<image>\n"), answer["value"]


def coloured(world: Path, folder: str, path: str, name: str) -> Any:
    """bool [height, width]: the pixels of an image that have the colour a shape's name begins with."""
    image = np.asarray(Image.open(world / folder / path).convert("RGB"), int)
    return np.abs(image - COLOURS[name.split()[0]]).sum(-1) < 8


def test_names_are_those_of_the_drawings(world: Path) -> None:
    for folder in ("train", *CONDITIONS):
        for record, _, name in asked(world / folder / "names.en.json"):
            assert coloured(world, folder, record["image"], name).sum() > 200


@pytest.mark.parametrize("condition", CONDITIONS)
def test_boxes_are_tight_around_the_drawing(world: Path, condition: str) -> None:
    found = rows(world / condition / "refcoco.en.jsonl")
    for row in found:
        x1, y1, x2, y2 = row["bbox"]
        assert 0 <= x1 < x2 <= row["width"] and 0 <= y1 < y2 <= row["height"]
        hit = coloured(world, condition, row["image"], row["sent"])[y1:y2, x1:x2]
        for side in (0, 1):
            filled = np.flatnonzero(hit.any(side))
            soft = 8  # pixels of outline, blurred edge and a diamond's corner
            assert filled[0] <= soft and filled[-1] >= hit.shape[1 - side] - 1 - soft


def test_boxes_in_training_are_fractions_of_what_the_tests_measure(world: Path) -> None:
    answers = [answer for *_, answer in asked(world / "train" / "scenes.en.json") if answer.startswith("[")]
    assert answers
    for answer in answers:
        x1, y1, x2, y2 = json.loads(answer)
        assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1


def test_choices_have_four_names_one_right_letter_and_the_image(world: Path) -> None:
    named = {concept["names"]["en"]: concept for concept in concepts_of(world)}
    for condition in CONDITIONS:
        found = choices(world / condition / "mmbench.en.tsv")
        assert len(found) == (4 if condition == "concepts" else 6)
        images = {path.read_bytes() for path in (world / condition / "images").iterdir()}
        for row in found:
            options = [row[letter] for letter in "ABCD"]
            assert len(set(options)) == 4
            right = named[row[row["answer"]]]
            assert {named[option]["subgroup"] for option in options} == {right["subgroup"]}
            assert (row["category"], row["l2-category"]) in {("geometric shapes", "symbols"), ("hearts", "symbols")}
            assert base64.b64decode(row["image"]) in images
    assert Counter(row["answer"] for row in choices(world / "style" / "mmbench.zh.tsv")).total() == 6


def test_pope_asks_for_as_many_that_are_there_as_not(world: Path) -> None:
    lines = rows(world / "style" / "pope_adversarial.en.jsonl")
    labels = Counter(line["label"] for line in lines)
    assert labels["yes"] == labels["no"] > 5
    assert [line["question_id"] for line in lines] == list(range(1, len(lines) + 1))
    for line in lines:
        name = line["text"].split(" in the image?")[0].removeprefix("Is there ").removeprefix("a ").removeprefix("an ")
        assert coloured(world, "style", line["image"], name).sum() > 30 or line["label"] == "no"


def test_popular_ones_are_the_most_frequent_in_training(world: Path) -> None:
    names = {concept["names"]["en"]: concept["code"] for concept in concepts_of(world) if not concept["held_out"]}
    counts = Counter(dict.fromkeys(names, 0))
    for record, _, caption in asked(world / "train" / "captions.en.json"):
        if record["id"].startswith("scene"):
            counts.update({name for name in names if name in caption})
    first = sorted(names, key=lambda name: (-counts[name], names[name]))
    for image, lines in groupby(rows(world / "style" / "pope_popular.en.jsonl"), lambda line: line["image"]):
        shown = coloured_names(world, image)
        denied = [object_of(line["text"]) for line in lines if line["label"] == "no"]
        assert denied == [name for name in first if name not in shown][: len(denied)]


def object_of(question: str) -> str:
    """What POPE's question asks for."""
    return question.removeprefix("Is there ").removesuffix(" in the image?").split(" ", 1)[1]


def coloured_names(world: Path, image: str) -> set[str]:
    """The names of the shapes in a test scene, by the caption from left to right."""
    file: Any = rows(world / "style" / "captions.en.json")
    number = next(one["id"] for one in file["images"] if one["file_name"] == image)
    caption = next(one["caption"] for one in file["annotations"] if one["image_id"] == number)
    return set(caption.split(", "))


def test_counts_and_sides_are_those_of_the_scene(world: Path) -> None:
    captions: Any = rows(world / "style" / "captions.en.json")
    first = {one["image_id"]: one["caption"] for one in reversed(captions["annotations"])}
    listed = {image["file_name"]: first[image["id"]].split(", ") for image in captions["images"]}
    checked = Counter[str]()
    for file in ("counting", "left_right"):
        for record, question, answer in asked(world / "style" / f"{file}.en.json"):
            if record["image"] in listed:
                checked[record["type"]] += 1
                assert answer == answered(record["type"], question, listed[record["image"]]), question
    assert set(checked) == {"count", "count_of", "different", "left", "is_left"}


def answered(kind: str, question: str, names: list[str]) -> str:
    """The answer, by the names from left to right."""
    if kind == "count":
        return str(len(names))
    if kind == "different":
        return str(len(set(names)))
    asked_for = sorted({name for name in names if name in question}, key=question.index)
    if kind == "count_of":
        return str(names.count(asked_for[0]))
    left = min(asked_for, key=names.index)
    return left if kind == "left" else ("yes" if asked_for[0] == left else "no")


def test_captions_have_several_references(world: Path) -> None:
    file: Any = rows(world / "style" / "captions.zh.json")
    per_image = Counter(annotation["image_id"] for annotation in file["annotations"])
    assert per_image.keys() == {image["id"] for image in file["images"]}
    assert min(per_image.values()) >= 3
    assert all((world / "style" / image["file_name"]).is_file() for image in file["images"])


def test_a_rejected_name_is_of_the_same_subgroup(world: Path) -> None:
    kinds = {concept["names"]["en"]: concept["subgroup"] for concept in concepts_of(world)}
    for pair in rows(world / "train" / "preferences.en.json"):
        assert pair["chosen"] != pair["rejected"]
        assert kinds[pair["chosen"]] == kinds[pair["rejected"]]


def test_similar_concepts_share_subgroup_then_keywords(packages: Path) -> None:
    concepts = read_concepts(packages, Drawings(packages).has_all, SEED)
    red_square = next(concept for concept in concepts if concept.names["en"] == "red square")
    ranked = [concept.names["en"] for concept in Similar(concepts).to(red_square)]
    assert len(ranked) == 39
    assert ranked[0] == "red circle" or ranked[0].endswith("square")
    assert {name.split()[1] for name in ranked[:19]} == {"circle", "square"}


def test_every_hand_draws_differently(packages: Path) -> None:
    drawings = Drawings(packages)
    sizes = {style: drawings.glyph(style, "1f500").size for style in STYLES}
    assert sizes == {"google": (53, 53), "twitter": (45, 45), "fluent": (78, 78), "openmoji": (84, 84)}
    assert drawings.has_all("1f510-fe0f")
    assert not drawings.has_all(UNDRAWN.lower())


def test_licences_are_written_and_printed(world: Path) -> None:
    text = (world / "LICENSES.md").read_text(encoding="utf-8")
    for terms in ("Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT", "Unicode-3.0", "terms of the table"):
        assert terms in text


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("tiger", "a tiger"),
        ("orange", "an orange"),
        ("grapes", "grapes"),
        ("glass of milk", "a glass of milk"),
        ("horse racing", "horse racing"),
        ("person fencing", "a person fencing"),
        ("Santa Claus", "Santa Claus"),
        ("OK hand", "an OK hand"),
        ("octopus", "an octopus"),
        ("flower playing cards", "flower playing cards"),
    ],
)
def test_english_names_get_an_article_where_they_have_one(name: str, written: str) -> None:
    assert with_article(name) == written
