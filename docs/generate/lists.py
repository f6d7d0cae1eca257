"""Short reference tables: the data formats that are read, and the recipes that ship."""

from collections.abc import Iterable

from llm.formats.readers import READERS
from vlm.recipes import list_recipes


def formats() -> str:
    """Every value of a source's `format:` with what its rows have."""
    return _table("`format:`", "a record has", ((name, reader.shape) for name, reader in READERS.items()))


def recipes() -> str:
    """Every shipped recipe with its first comment line."""
    return _table("recipe", "what it does", ((recipe.name, recipe.about) for recipe in list_recipes()))


def _table(first: str, second: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| `{name}` | {text} |" for name, text in rows]
    return "\n".join([f"| {first} | {second} |", "|---|---|", *lines])
