"""What a recipe's schema refuses of the form's settings, by the field that holds it."""

from collections.abc import Mapping
from typing import Any

from demo.job_pages.parts.words import text
from demo.job_pages.train.schema_fields import TRACK, setting_fields
from demo.job_pages.train.words import MISTAKES
from llm.config.validation_messages import Location
from llm.config.yaml_loader import from_mapping, mistakes
from llm.i18n.translate import Language, translated
from vlm.config import SCHEMAS


def recipe_mistakes(recipe: Mapping[str, Any], stage: str, has_validation: bool, lang: Language) -> dict[str, str]:
    """The mistakes of a request's `recipe` in a run of `stage`, each in the language of the page."""
    fields, found = setting_fields(), dict[str, str]()
    for place, message in mistakes(from_mapping(_complete(recipe, stage, has_validation)), SCHEMAS[stage]):
        key, said = _field(place, message)
        field = fields.get(key)
        if field is not None and field.vision and stage == "sft":
            found.setdefault(key, text(MISTAKES, "vision_only", lang))
            continue
        help_of_field = f"; {field.about}" if field is not None else ""  # the form shows it already
        found.setdefault(key, translated(said.removesuffix(help_of_field), lang))
    return found


def _complete(recipe: Mapping[str, Any], stage: str, has_validation: bool) -> dict[str, Any]:
    """The recipe with what the service adds to it, as far as the schema asks for it."""
    files = {"sources": [{"path": "data"}], **({"validation_sources": [{"path": "data"}]} if has_validation else {})}
    tower = {} if stage == "sft" else {"tower": "tower"}
    return {
        **recipe,
        "name": "job",
        "stage": stage,
        "model": {"llm": "model", **tower, **recipe.get("model", {})},
        "data": {**recipe.get("data", {}), **files},
    }


def _field(place: Location, message: str) -> tuple[str, str]:
    """The field of a mistake, and the message without its key. A check of several keys names the key first."""
    steps = [str(step) for step in place]
    said = message.removeprefix(f"{'.'.join(steps)}: ").removeprefix("found a section; ")
    if steps[0] == TRACK:
        return TRACK, said
    if len(steps) == 1:
        named = said.partition(":")[0].removeprefix(f"{steps[0]}.")
        return f"{steps[0]}.{named}", said
    return ".".join(steps[:2]), said
