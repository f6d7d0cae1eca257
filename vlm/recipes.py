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
    """A shipped recipe; its name is its path under configs/, and the last part alone where that is unique."""

    name: str
    path: Path

    @property
    def about(self) -> str:
        """The first comment line of the file."""
        first = self.path.read_text(encoding="utf-8").partition("\n")[0]
        return first.removeprefix("#").strip()


def list_recipes(pattern: str = "") -> list[ShippedRecipe]:
    """Shipped recipes in order of name; `pattern` is a part of the name or a glob, in any case."""
    found = [ShippedRecipe(_name(path), path) for path in sorted(CONFIGS.rglob("*.yaml"))]
    return [recipe for recipe in found if _matches(recipe.name.lower(), pattern.lower())]


def find_recipe(name: str) -> Path:
    """The file called `name`: a path as it stands, or else a shipped recipe.

    Raises ConfigError that names what is near.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        inside = _names(sorted(path.glob("*.yaml")))
        raise ConfigError(f"{name}: is a folder; name one recipe{': ' + inside if inside else ''}")
    recipes = list_recipes()
    wanted = [recipe.path for recipe in recipes if name in (recipe.name, Path(recipe.name).name)]
    if len(wanted) > 1:
        raise ConfigError(f"{name}: several recipes have this name: {', '.join(map(_name, wanted))}. Write one in full")
    if not wanted:
        raise ConfigError(f"{name}: no such file or recipe{_near(path, recipes)}")
    return wanted[0]


def read_recipe(name: str) -> str:
    """A recipe as it was written. Raises ConfigError as `find_recipe`, and for a file that is no text."""
    path = find_recipe(name)
    try:
        return read_text(path, RECIPE)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; name a readable YAML file") from error


def copy_recipe(name: str, target: Path) -> list[Path]:
    """Copy a shipped recipe, or a whole folder of them, to `target`; returns the files written.

    An existing folder as target receives the file under its own name. Nothing is ever overwritten.
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
    """`. Near: ...` with files beside the missing one and recipes whose names resemble it."""
    files = {file.name: file for file in path.parent.glob("*.y*ml")}
    near = [str(files[name]) for name in difflib.get_close_matches(path.name, list(files), n=3)]
    names = {key: recipe.name for recipe in recipes for key in (recipe.name, Path(recipe.name).name)}
    matches = difflib.get_close_matches(path.with_suffix("").as_posix(), list(names), n=3)
    found = list(dict.fromkeys([*near, *(names[match] for match in matches)]))
    return f". Near: {', '.join(found)}" if found else "; `eyegraft ls` lists the recipes"


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(str(path) for path in paths)
