"""The concepts of the world: what the emoji data and CLDR's annotations list, with names and keywords.

Left out are skin tones, flags (a country's flag is the same in every hand, so it tests knowledge and not sight; one of
the four hands draws none), emoji that another has replaced, those without a name in both languages, and those that one
of the hands does not draw.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from llm.errors import AssetError

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
LEFT_OUT = frozenset({"Flags", "Component"})
VARIATION = "\ufe0f"  # asks for a coloured drawing; CLDR's keys are without it
HELD_OUT_SHARE = 10  # one concept of so many is never trained


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """One thing that every hand draws; equal only to itself."""

    code: str  # code points as in `emoji.json`, lower case, joined by hyphens
    symbol: str
    group: str
    subgroup: str
    names: Mapping[Language, str]
    keywords: Mapping[Language, tuple[str, ...]]  # without the name
    held_out: bool = False

    def category(self, language: Language) -> str:
        """The subgroup in words."""
        return str(_labels()["subgroups"][self.subgroup][LANGUAGES.index(language)])

    def broad_group(self, language: Language) -> str:
        """The group in words."""
        return str(_labels()["groups"][self.group][LANGUAGES.index(language)])


@cache
def _labels() -> Any:
    """{"groups" and "subgroups": {Unicode's name: [English, Chinese]}}."""
    return json.loads(Path(__file__).with_name("labels.json").read_text(encoding="utf-8"))


def read_concepts(unpacked: Path, drawn: Callable[[str], bool], seed: str) -> tuple[Concept, ...]:
    """All concepts that `drawn` has, in Unicode's order; one of ten, spread over the subgroups, is held out.

    Raises AssetError when a file is not as published.
    """
    table = _read(unpacked / "emoji-datasource-google" / "emoji.json")
    folder = unpacked / "cldr-annotations-full" / "annotations"
    annotations: dict[Language, Any] = {
        language: _read(folder / language / "annotations.json")["annotations"]["annotations"] for language in LANGUAGES
    }
    found = [concept for entry in _in_order(table) if (concept := _concept(entry, annotations)) is not None]
    known = [concept for concept in _without_equal_names(found) if drawn(concept.code)]
    held = _held_out(known, seed)
    return tuple(replace(concept, held_out=concept.code in held) for concept in known)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(f"{path.name}: not as published ({error}). Delete downloads/ and run again") from error


def _in_order(table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(table, key=lambda entry: (int(entry["sort_order"]), str(entry["unified"])))


def _concept(entry: dict[str, Any], annotations: Mapping[Language, Any]) -> Concept | None:
    """The entry of `emoji.json` as a concept; None for what is left out, and for one without a name."""
    if entry["category"] in LEFT_OUT or entry.get("obsoleted_by"):
        return None
    symbol = "".join(chr(int(point, 16)) for point in entry["unified"].split("-"))
    notes = {language: annotations[language].get(symbol.replace(VARIATION, "")) for language in LANGUAGES}
    if not all(note and note.get("tts") for note in notes.values()):
        return None
    names = {language: str(note["tts"][0]) for language, note in notes.items()}
    keywords = {
        language: tuple(word for word in note.get("default", ()) if word != names[language])
        for language, note in notes.items()
    }
    return Concept(entry["unified"].lower(), symbol, entry["category"], entry["subcategory"], names, keywords)


def _without_equal_names(concepts: Iterable[Concept]) -> list[Concept]:
    """The first of those that share a name in one of the languages: two answers would be right."""
    seen: set[tuple[Language, str]] = set()
    kept = []
    for concept in concepts:
        keys = {(language, name.lower()) for language, name in concept.names.items()}
        if not keys & seen:
            kept.append(concept)
        seen |= keys
    return kept


def _held_out(concepts: Sequence[Concept], seed: str) -> set[str]:
    """Codes of every tenth concept when each subgroup is shuffled and they are laid end to end."""
    listed: list[str] = []
    for subgroup in dict.fromkeys(concept.subgroup for concept in concepts):
        codes = [concept.code for concept in concepts if concept.subgroup == subgroup]
        random.Random(f"{seed}-held-out-{subgroup}").shuffle(codes)
        listed += codes
    return set(listed[HELD_OUT_SHARE // 2 :: HELD_OUT_SHARE])


class Similar:
    """The concepts of a pool by how similar they are to a given one, of which wrong answers are made."""

    def __init__(self, pool: Sequence[Concept]) -> None:
        self._words = [(concept, _words(concept)) for concept in pool]
        self._ranked: dict[str, list[Concept]] = {}

    def to(self, concept: Concept) -> list[Concept]:
        """The others, those of the same subgroup first, then of the same group; within them by shared keywords."""
        if concept.code not in self._ranked:
            self._ranked[concept.code] = self._rank(concept)
        return self._ranked[concept.code]

    def _rank(self, concept: Concept) -> list[Concept]:
        own = _words(concept)
        distances = [
            (other.subgroup != concept.subgroup, other.group != concept.group, -_shared(own, words), other.code, other)
            for other, words in self._words
            if other.code != concept.code
        ]
        return [other for *_, other in sorted(distances, key=lambda distance: distance[:4])]


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    """Of the words of two concepts, the share that both have."""
    return len(one & other) / len(one | other)


def _words(concept: Concept) -> frozenset[str]:
    return frozenset(concept.names["en"].lower().split()) | {word.lower() for word in concept.keywords["en"]}
