"""Captions: of one drawing from its name, category and keywords, and of a scene from left to right."""

from collections.abc import Sequence

from data_tools.emoji.concepts import Concept, Language
from data_tools.emoji.phrases import SEPARATOR

KEYWORDS = 3  # of a caption


def references(concept: Concept, language: Language) -> tuple[str, ...]:
    """All captions of a drawing that count as right."""
    name, category = concept.names[language], concept.category(language)
    words = SEPARATOR[language].join(concept.keywords[language][:KEYWORDS])
    if language == "en":
        found = [name, f"{name}, one of the {category}", f"{category}: {name}"]
        found += [f"{name}: {words}"] if words else []
        return tuple(found)
    found = [name, f"{name}，属于{category}", f"{category}：{name}"]
    return (*found, f"{name}：{words}") if words else tuple(found)


def scene_references(concepts: Sequence[Concept], language: Language) -> tuple[str, ...]:
    """Captions of a scene whose drawings are given from left to right."""
    names = [concept.names[language] for concept in concepts]
    listed = SEPARATOR[language].join(names)
    if language == "en":
        joined = ", ".join(names[:-1]) + f" and {names[-1]}"
        return listed, joined, f"from left to right: {listed}"
    return listed, "、".join(names[:-1]) + f"和{names[-1]}", f"从左到右：{listed}"
