"""The recipes that ship with Eyegraft: found by name, listed, copied."""

import difflib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from llm.errors import ConfigError
from llm.files.regular_files import RECIPE, read_text

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@dataclass(frozen=True, slots=True)
class ShippedRecipe:
    """A shipped recipe. Its name is its path under configs/ without the suffix; the last part is enough if unique."""

    name: str
    path: Path

    @property
    def about(self) -> str:
        """The first comment line of the file."""
        first = self.path.read_text(encoding="utf-8").partition("\n")[0]
        return first.removeprefix("#").strip()


def list_recipes(pattern: str = "") -> list[ShippedRecipe]:
    """Shipped recipes sorted by name. `pattern`: part of the name or a glob; upper and lower case are equal."""
    found = [ShippedRecipe(_name(path), path) for path in sorted(CONFIGS.rglob("*.yaml"))]
    return [recipe for recipe in found if _matches(recipe.name.lower(), pattern.lower())]


def find_recipe(name: str) -> Path:
    """The file `name`, or the shipped recipe of that name.

    Raises ConfigError that suggests similar names.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        inside = _names(sorted(path.glob("*.yaml")))
        if not inside:
            raise ConfigError(f"{name}: is a folder without recipes; name a YAML file, or one that `eyegraft ls` lists")
        raise ConfigError(f"{name}: is a folder; name one of its recipes: {inside}")
    recipes = list_recipes()
    wanted = [recipe.path for recipe in recipes if name in (recipe.name, Path(recipe.name).name)]
    if len(wanted) > 1:
        raise ConfigError(f"{name}: several recipes have this name: {', '.join(map(_name, wanted))}. Write a full name")
    if not wanted:
        raise ConfigError(f"{name}: no such file or recipe{_near(path, recipes)}")
    return wanted[0]


def read_recipe(name: str) -> str:
    """The text of a recipe. Raises ConfigError as `find_recipe`, and for a file that is not UTF-8 text."""
    path = find_recipe(name)
    try:
        return read_text(path, RECIPE)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; name a readable YAML file") from error


def copy_recipe(name: str, target: Path) -> list[Path]:
    """Copy a shipped recipe, or a folder of them, to `target`; returns the files written.

    If `target` is a folder the file keeps its name. Raises ConfigError where a file would be overwritten.
    """
    folder = CONFIGS / name
    if name and folder.is_dir() and folder.resolve().is_relative_to(CONFIGS):
        sources = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        pairs = [(path, target / path.relative_to(folder)) for path in sources]
    else:
        source = find_recipe(name)
        pairs = [(source, target / source.name if target.is_dir() else target)]
    for _, copy in pairs:
        if copy.exists():
            raise ConfigError(f"{copy}: exists already; choose another name, or remove it first")
    return [_copy(source, copy) for source, copy in pairs]


def _copy(source: Path, copy: Path) -> Path:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    except OSError as error:
        raise ConfigError(f"{copy}: {error.strerror or error}; choose a writable place") from error
    return copy


def _name(path: Path) -> str:
    return path.relative_to(CONFIGS).with_suffix("").as_posix()


def _matches(name: str, pattern: str) -> bool:
    return pattern in name or fnmatchcase(name, pattern) or fnmatchcase(Path(name).name, pattern)


def _near(path: Path, recipes: Iterable[ShippedRecipe]) -> str:
    """`. Similar: ...` with files in the same folder and recipes whose names resemble the missing one."""
    files = {file.name: file for file in path.parent.glob("*.y*ml")}
    near = [str(files[name]) for name in difflib.get_close_matches(path.name, list(files), n=3)]
    names = {key: recipe.name for recipe in recipes for key in (recipe.name, Path(recipe.name).name)}
    matches = difflib.get_close_matches(path.with_suffix("").as_posix(), list(names), n=3)
    found = list(dict.fromkeys([*near, *(names[match] for match in matches)]))
    return f". Similar: {', '.join(found)}" if found else "; `eyegraft ls` lists the recipes"


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(str(path) for path in paths)
