"""The forecasts of all shipped recipes for a card: of each at full depth, and of its models cut to few layers.

A forecast at full depth takes up to a minute, so tests compare the cut ones, which every change of a recipe, of
training or of the forecast changes too. `python -m tests.vlm.plan.recipe_forecasts [NAME]..` writes the file.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from llm.config.schema import RunConfig
from tests.vlm.plan.published_configs import PUBLISHED, layers_of, write_config
from tests.vlm.plan.published_vlms import PUBLISHED_VLMS
from vlm.config import ReadyRunConfig, VlmRunConfig, load_config
from vlm.plan.memory_report import candidates, forecast
from vlm.plan.worst_pack import longest_record, packs_a_step
from vlm.recipes import list_recipes

GIB = 2**30
FILE = Path(__file__).with_name("recipe_forecasts.json")
LLM_LAYERS, TOWER_LAYERS = 2, 3  # of the cut models
_KNOWN: dict[tuple[str, int, int], float] = {}  # by shape and layers


def recipes_for_cards() -> list[str]:
    """Names of the recipes that train published models."""
    configs = {recipe.name: load_config(recipe.name) for recipe in list_recipes()}
    known = PUBLISHED.keys() | PUBLISHED_VLMS.keys()
    return [name for name, one in configs.items() if isinstance(one, RunConfig) and one.model.llm in known]


def cut_forecast(name: str) -> float:
    """GiB at the peak of a step of the recipe over cut models, all text having a loss."""
    return _forecast(_run(name), LLM_LAYERS, TOWER_LAYERS)


def full_forecast(name: str) -> float:
    """GiB at the peak of a step of the recipe, all text having a loss."""
    config = _run(name)
    if isinstance(config, ReadyRunConfig):
        published = PUBLISHED_VLMS[config.model.llm]
        return _forecast(config, published.llm_layers, published.tower_layers)
    tower = layers_of(config.model.tower) if isinstance(config, VlmRunConfig) else 0
    return _forecast(config, layers_of(config.model.llm), tower)


def _run(name: str) -> RunConfig:
    config = load_config(name)
    assert isinstance(config, RunConfig)
    return config


def _forecast(config: RunConfig, llm: int, tower: int) -> float:
    key = (shape_of(config), llm, tower)
    if key not in _KNOWN:
        with TemporaryDirectory() as folder:
            _KNOWN[key] = _peak(_of_depth(config, Path(folder), llm, tower))
    return _KNOWN[key]


def shape_of(config: RunConfig) -> str:
    """All that a forecast depends on: recipes that differ in names, data and schedules alone have one forecast."""
    train = config.train.model_dump(include={"pack_tokens", "pack_images", "dtype", "recompute", "lean", "fold"})
    parts = {
        "model": config.model.model_dump(exclude={"llm"}) | {"llm": PUBLISHED.get(config.model.llm, config.model.llm)},
        "train": train | {"packs": min(2, packs_a_step(config)), "longest": longest_record(config)},
        "tune": config.tune.model_dump(),
        "optim": [config.optim.name, config.stage],
    }
    return json.dumps(parts, sort_keys=True, default=str)


def _of_depth(config: RunConfig, folder: Path, llm: int, tower: int) -> RunConfig:
    """The recipe over models of so many layers."""
    if isinstance(config, ReadyRunConfig):
        PUBLISHED_VLMS[config.model.llm].write(folder / "vlm", llm, tower)
        return config.model_copy(update={"model": config.model.model_copy(update={"llm": str(folder / "vlm")})})
    models = {"llm": write_config(folder / "llm", config.model.llm, llm)}
    if isinstance(config, VlmRunConfig):
        models["tower"] = write_config(folder / "tower", config.model.tower, tower)
    return config.model_copy(update={"model": config.model.model_copy(update=models)})


def _peak(config: RunConfig) -> float:
    """GiB of the pack that is the heaviest at full depth: with images, if there are any."""
    pack, *_ = candidates(config, 1.0, "card")
    return forecast(config, [], pack, packs_a_step(config), "card").total / GIB


def main(names: list[str]) -> None:
    """Forecast these recipes, or all, and write the file."""
    found: dict[str, dict[str, float]] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    every = recipes_for_cards()
    for name in names or every:
        found[name] = {"cut": round(cut_forecast(name), 3), "full": round(full_forecast(name), 2)}
        print(name, found[name], flush=True)
        ordered = {name: found[name] for name in every if name in found}
        FILE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
