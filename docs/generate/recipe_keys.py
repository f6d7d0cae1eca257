"""The reference of recipe keys, from the pydantic models that validate recipes."""

import json
from collections.abc import Iterator
from typing import Any

from vlm.config import SCHEMAS, AnyConfig, ReadyRunConfig

Schema = dict[str, Any]
BOUNDS = {"minimum": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ ", "exclusiveMaximum": "< "}


def recipe_keys() -> str:
    """One table for each schema of a recipe, its nested sections as dotted keys."""
    models = {model: [stage for stage, other in SCHEMAS.items() if other is model] for model in SCHEMAS.values()}
    sections = [_section(model, _title(stages)) for model, stages in models.items()]
    return "\n\n".join([*sections, _section(ReadyRunConfig, "`stage: finetune` with `model.vlm`")])


def _title(stages: list[str]) -> str:
    return "`steps:` (a pipeline)" if stages == ["pipeline"] else " and ".join(f"`stage: {stage}`" for stage in stages)


def _section(model: type[AnyConfig], title: str) -> str:
    schema = model.model_json_schema()
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [_row(*row) for row in _keys(schema, schema, "")]
    return "\n".join([f"## {title}", "", *lines])


def _keys(part: Schema, root: Schema, prefix: str) -> Iterator[tuple[str, Schema, Schema, bool]]:
    """Dotted key, its schema, the document it refers into, and whether it is required; sections are flattened."""
    for name, found in part["properties"].items():
        key, required = prefix + name, name in part.get("required", [])
        section, suffix = _section_of(found, root)
        if section is None:
            yield key, found, root, required
        else:
            yield from _keys(section, root, f"{key}{suffix}.")


def _section_of(found: Schema, root: Schema) -> tuple[Schema | None, str]:
    """The object that a key holds, with `.0` for a list of them; None for a plain value."""
    for option in [found, *found.get("anyOf", []), *found.get("allOf", [])]:
        if "$ref" in option:
            return root["$defs"][option["$ref"].rpartition("/")[2]], ""
        if "$ref" in option.get("items", {}):
            return root["$defs"][option["items"]["$ref"].rpartition("/")[2]], ".0"
    return None, ""


def _row(key: str, found: Schema, root: Schema, required: bool) -> str:
    default = "required" if required else f"`{json.dumps(found.get('default'), ensure_ascii=False)}`"
    return f"| `{key}` | {_value(found, root)} | {default} | {_escape(found.get('description', ''))} |"


def _value(found: Schema, root: Schema) -> str:
    """The type in words: its choices, its bounds, or its parts."""
    if "anyOf" in found:
        return " or ".join(_value(option, root) for option in found["anyOf"])
    if "const" in found:
        return f"`{found['const']}`"
    if "enum" in found:
        return ", ".join(f"`{choice}`" for choice in found["enum"])
    if found.get("type") == "array":
        return f"list of {_value(found['items'], root)}" if "items" in found else "two numbers"
    bounds = ", ".join(f"{sign}{found[name]:g}" for name, sign in BOUNDS.items() if name in found)
    kind = {"object": "mapping", "": "any"}.get(found.get("type", ""), f"{found.get('type')}")
    return f"{kind}, {bounds}" if bounds else kind


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
