"""The commands that look at recipes and at the installation: ls, cp, show, validate, schema, env."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from llm import console
from llm.activity import importing
from llm.errors import ConfigError
from vlm.app.help_format import CommandGroups, RunCommand, example

LOOK = "Look"
look_app = typer.Typer(cls=CommandGroups, rich_markup_mode=None)

File = Annotated[str, typer.Argument(metavar="FILE", help="A recipe file, or the name of a shipped recipe.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys of the recipe: train.batch=8.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe (see ls), or for cp a folder of them.")]


@look_app.command("ls", rich_help_panel=LOOK, epilog=example("eyegraft ls", "eyegraft ls 'llava*'"))
def list_recipes(pattern: Annotated[str, typer.Argument(help="Part of a name, or a glob pattern.")] = "") -> None:
    """List the shipped recipes."""
    from vlm.recipes import list_recipes

    found = list_recipes(pattern)
    if not found:
        raise ConfigError(f"{pattern}: no recipe's name matches; `eyegraft ls` lists them all")
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        console.out(f"{recipe.name:<{width}}  {recipe.about}")
    first = found[0].name
    console.next_commands(f"eyegraft show {first}", f"eyegraft cp {first} my.yaml", to_err=True)


@look_app.command(
    "cp",
    rich_help_panel=LOOK,
    epilog=example("eyegraft cp quickstart/finetune my-run.yaml", "eyegraft cp quickstart ."),
)
def copy_recipe(name: Name, dest: Annotated[Path, typer.Argument(metavar="DEST", help="File or folder.")]) -> None:
    """Copy a shipped recipe, or a folder of them, to edit it."""
    from vlm.recipes import copy_recipe

    copies = copy_recipe(name, dest)
    for path in copies:
        console.raw(path)
    recipes = [shlex.quote(str(path)) for path in copies if path.suffix == ".yaml"]
    if recipes:
        console.next_commands(f"eyegraft validate {recipes[0]}", f"eyegraft plan {recipes[0]}", to_err=True)


@look_app.command(rich_help_panel=LOOK, epilog=example("eyegraft show quickstart/finetune"))
def show(name: Name) -> None:
    """Print a shipped recipe with its comments."""
    from vlm.recipes import read_recipe

    console.raw(read_recipe(name), end="")


@look_app.command(cls=RunCommand, rich_help_panel=LOOK, epilog=example("eyegraft validate my-run.yaml train.batch=8"))
def validate(
    file: File,
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 if a file it names is not here.")] = False,
) -> None:
    """Check a recipe, or every step of a pipeline, print it with all defaults, and say whether its files are here."""
    from llm.config.yaml_loader import resolve_yaml
    from vlm.app.endings import after_validation, verdict
    from vlm.config import load_config
    from vlm.recipes import find_recipe

    config = load_config(file, overrides or ())
    missing, judged = verdict(config, find_recipe(file))
    console.raw(resolve_yaml(config), end="")
    for line in (*missing, judged):
        console.err(line)
    after_validation(config, file, overrides or ())
    if missing and strict:
        raise typer.Exit(3)


@look_app.command(rich_help_panel=LOOK, epilog=example("eyegraft schema finetune"))
def schema(
    stage: Annotated[str, typer.Argument(help="A stage; without it, all stages.")] = "",
) -> None:
    """Print the JSON schema of recipes, for editors and forms."""
    from vlm.config import json_schema

    console.raw(json.dumps(json_schema(stage), indent=2))


@look_app.command(rich_help_panel=LOOK, epilog=example("eyegraft inspect models/Qwen2.5-VL-3B-Instruct"))
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder or hub id of a vision language model.")],
) -> None:
    """Compare a VLM as it is computed here with plain transformers, and say what it can do: packs, prefixes, caches."""
    with importing():
        from vlm.ready.report import inspect_folder

    for line in inspect_folder(model):
        console.out(line)


@look_app.command(rich_help_panel=LOOK, epilog=example("eyegraft env"))
def env() -> None:
    """Print versions, hardware and optional packages of this installation."""
    from vlm.app.environment import describe

    for name, finding in describe():
        console.out(f"{name:<18}  {finding}")
