"""The emoji world: about 1,500 concepts in the drawings of four hands, made into files to train on and tests.

    emoji/
      train/      images/, captions, names, questions, scenes, several, preferences: each .en.json and .zh.json
      style/      tests on the drawings of a hand that training never shows
      concepts/   tests on concepts that training never shows
      seen/       tests on new images of what training shows
      concepts.json  samples.png  LICENSES.md

All is a function of the packages, of SEED and of the versions of Pillow and resvg-py: equal versions give equal bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.emoji.benchmarks import Condition, ConditionName, TestSizes, popular_first, write_tests
from data_tools.emoji.concepts import Concept, Similar, read_concepts
from data_tools.emoji.drawings import HELD_OUT_STYLE, SEEN_STYLES, Drawings, Style
from data_tools.emoji.images import ImageFolder
from data_tools.emoji.licenses import FILE, LICENCES, write_licences
from data_tools.emoji.npm_packages import NpmBundle, NpmPackage
from data_tools.emoji.samples import write_samples
from data_tools.emoji.training import Training, TrainingSizes, write_training
from data_tools.quickstart.assets import Asset
from data_tools.rows.json_array import write_array
from llm.activity import activity
from llm.errors import AssetError
from llm.log import logger

SEED = "emoji-0"


@dataclass(frozen=True, slots=True)
class WorldSizes:
    """How many records the files have."""

    training: TrainingSizes = field(default_factory=TrainingSizes)
    tests: TestSizes = field(default_factory=TestSizes)


def build_emoji(unpacked: Path, target: Path, sizes: WorldSizes | None = None) -> None:
    """Make the world in the empty folder `target` from the unpacked packages. Raises AssetError."""
    sizes = sizes or WorldSizes()
    drawings = Drawings(unpacked)
    concepts = read_concepts(unpacked, drawings.has_all, SEED)
    if not concepts:
        raise AssetError("emoji: the packages have no concept in common. Delete downloads/ and run again")
    write_licences(unpacked, target)
    write_array(target / "concepts.json", map(_row, concepts))
    with activity(f"drawing {len(concepts):,} concepts"):
        _write_files(concepts, drawings, target, sizes)
    write_samples(concepts, drawings, target / "samples.png")
    for licence in LICENCES:
        logger.info(f"emoji: {licence.line}")
    logger.info(f"emoji: {len(concepts):,} concepts; licences in {target.name}/{FILE}")


def _write_files(concepts: tuple[Concept, ...], drawings: Drawings, target: Path, sizes: WorldSizes) -> None:
    trained = tuple(concept for concept in concepts if not concept.held_out)
    held = tuple(concept for concept in concepts if concept.held_out)
    similar = Similar(trained)
    images = ImageFolder(target / "train", drawings, SEED)
    scenes = write_training(Training(trained, similar, images, SEED, sizes.training))
    popular = popular_first(scenes, trained)
    conditions: tuple[tuple[ConditionName, tuple[Concept, ...], tuple[Style, ...], Similar], ...] = (
        ("style", trained, (HELD_OUT_STYLE,), similar),
        ("concepts", held, SEEN_STYLES, Similar(concepts)),
        ("seen", trained, SEEN_STYLES, similar),
    )
    for name, tested, styles, near in conditions:
        shown = ImageFolder(target / name, drawings, SEED)
        write_tests(Condition(name, tested, styles, near, popular, shown, SEED, sizes.tests))
        assert not shown.digests & images.digests, f"{name}: an image is in training too"


def _row(concept: Concept) -> dict[str, object]:
    return {
        "code": concept.code,
        "symbol": concept.symbol,
        "group": concept.group,
        "subgroup": concept.subgroup,
        "names": dict(concept.names),
        "keywords": {language: list(words) for language, words in concept.keywords.items()},
        "held_out": concept.held_out,
    }


PACKAGES = NpmBundle(
    (
        NpmPackage(
            "emoji-datasource-google@16.0.0",
            "emoji-datasource-google-16.0.0.tgz",
            "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
            ("emoji.json", "LICENSE", "img/google/64/"),
        ),
        NpmPackage(
            "emoji-datasource-twitter@16.0.0",
            "emoji-datasource-twitter-16.0.0.tgz",
            "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
            ("img/twitter/64/",),
        ),
        NpmPackage(
            "openmoji@17.0.0",
            "openmoji-17.0.0.tgz",
            "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
            ("LICENSE.txt", "color/svg/"),
        ),
        NpmPackage(
            "@iconify-json/fluent-emoji-flat@1.2.6",
            "iconify-json-fluent-emoji-flat-1.2.6.tgz",
            "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
            ("icons.json", "chars.json"),
        ),
        NpmPackage(
            "cldr-annotations-full@48.2.0",
            "cldr-annotations-full-48.2.0.tgz",
            "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
            ("LICENSE", "annotations/en/", "annotations/zh/"),
        ),
    )
)
WORLDS: Mapping[str, Asset] = {"emoji": Asset(PACKAGES, build_emoji)}
