"""Scenes: which drawings are in an image, where, and what can be asked about them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from data_tools.emoji.canvas import SCENE, Box, compose_scene
from data_tools.emoji.concepts import Concept, Language
from data_tools.emoji.drawings import Drawings, Style
from data_tools.emoji.phrases import SEPARATOR, Kind, Part, wording, yes_no

FEWEST, MOST = 2, 5  # drawings of a scene
REPEATS = 0.4  # share of scenes in which one drawing occurs several times
APART = 12  # pixels between the middles of two drawings of which one is called left


@dataclass(frozen=True)
class Scene:
    """The concept and box of each drawing of an image, from left to right."""

    style: Style
    concepts: tuple[Concept, ...]
    boxes: tuple[Box, ...]

    @cached_property
    def different(self) -> tuple[Concept, ...]:
        """Each concept once."""
        return tuple({concept.code: concept for concept in self.concepts}.values())

    @cached_property
    def single(self) -> tuple[tuple[Concept, Box], ...]:
        """The concepts that occur once, of which one can ask where they are."""
        codes = [concept.code for concept in self.concepts]
        pairs = zip(self.concepts, self.boxes, strict=True)
        return tuple((concept, box) for concept, box in pairs if codes.count(concept.code) == 1)

    def side_by_side(self) -> list[tuple[Concept, Concept]]:
        """Pairs (left, right) that occur once and are far enough from each other."""
        return [
            (one, other)
            for one, left in self.single
            for other, right in self.single
            if right.middle - left.middle >= APART
        ]


def make_scene(
    pool: Sequence[Concept], styles: Sequence[Style], drawings: Drawings, rng: random.Random
) -> tuple[Scene, Image.Image]:
    """Two to five drawings of one hand on a canvas, and the image of them."""
    style = rng.choice(styles)
    count = rng.randint(FEWEST, MOST)
    repeats = rng.randint(2, count) if rng.random() < REPEATS else 1
    chosen = rng.sample(list(pool), min(len(pool), count - repeats + 1))
    chosen += [chosen[0]] * (repeats - 1)
    composed = compose_scene([drawings.glyph(style, concept.code) for concept in chosen], rng)
    order = sorted(range(len(chosen)), key=lambda at: (composed.boxes[at].middle, at))
    scene = Scene(style, tuple(chosen[at] for at in order), tuple(composed.boxes[at] for at in order))
    return scene, composed.image


def fractions(box: Box) -> str:
    """`[x1, y1, x2, y2]` in fractions of the side with two decimals, as LLaVA writes boxes."""
    return f"[{', '.join(f'{edge / SCENE:.2f}' for edge in box)}]"


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer."""

    kind: Kind
    question: str
    answer: str


def counting(scene: Scene, language: Language, part: Part, rng: random.Random) -> list[Turn]:
    """How many there are, of one concept, and of different ones."""
    one = rng.choice(scene.different)
    often = sum(concept.code == one.code for concept in scene.concepts)
    return [
        Turn("count", wording(language, "count", part, rng), str(len(scene.concepts))),
        Turn("count_of", wording(language, "count_of", part, rng, a=one.names[language]), str(often)),
        Turn("different", wording(language, "different", part, rng), str(len(scene.different))),
    ]


def left_right(scene: Scene, language: Language, part: Part, rng: random.Random) -> list[Turn]:
    """Which of two is further left, and whether one is left of the other; none where no two can be distinguished."""
    pairs = scene.side_by_side()
    if not pairs:
        return []
    left, right = (concept.names[language] for concept in rng.choice(pairs))
    a, b = rng.sample([left, right], 2)
    first, second = rng.sample([left, right], 2)
    return [
        Turn("left", wording(language, "left", part, rng, a=a, b=b), left),
        Turn("is_left", wording(language, "is_left", part, rng, a=first, b=second), yes_no(language, first == left)),
    ]


def boxes(scene: Scene, language: Language, part: Part, rng: random.Random) -> list[Turn]:
    """Where one concept is; none where each occurs several times."""
    if not scene.single:
        return []
    concept, box = rng.choice(scene.single)
    return [Turn("box", wording(language, "box", part, rng, a=concept.names[language]), fractions(box))]


def there(scene: Scene, absent: Sequence[Concept], language: Language, part: Part, rng: random.Random) -> list[Turn]:
    """Whether a concept is in the image: one that is, and one that is not."""
    present, missing = rng.choice(scene.different), rng.choice(absent)
    return [
        Turn("there", wording(language, "there", part, rng, a=present.names[language]), yes_no(language, True)),
        Turn("there", wording(language, "there", part, rng, a=missing.names[language]), yes_no(language, False)),
    ]


def in_order(scene: Scene, language: Language, part: Part, rng: random.Random) -> Turn:
    """All names from left to right."""
    names = SEPARATOR[language].join(concept.names[language] for concept in scene.concepts)
    return Turn("order", wording(language, "order", part, rng), names)
