"""The runs that a run starts from, by `from` in its recipe."""

from collections.abc import Callable
from pathlib import Path

from llm.config.prefer import PreferRunConfig
from llm.config.rebased_paths import CWD, rebased
from llm.config.schema import ModelConfig, RunConfig, TextRunConfig
from llm.config.yaml_loader import Document, load_yaml, validate
from llm.errors import ConfigError, RunError

TEXT_STAGE = "sft"
TEXT_STAGES: dict[str, type[TextRunConfig]] = {TEXT_STAGE: TextRunConfig, "prefer": PreferRunConfig}
EarlierRun = tuple[RunConfig, Path]  # a run that another starts from, and its folder


def lineage(config: RunConfig, read: Callable[[Path], RunConfig | None]) -> tuple[list[EarlierRun], Path | None]:
    """The chain of `from`, oldest first, each with its folder; and the first folder for which `read` returned None.

    Raises ConfigError for a chain that contains itself.
    """
    chain: list[EarlierRun] = []
    visited: list[Path] = []
    start = config.start
    while start:
        folder = Path(start)
        if folder.resolve() in visited:
            loop = [*visited[visited.index(folder.resolve()) :], folder.resolve()]
            raise ConfigError(
                f"from: {' -> '.join(map(str, loop))}: these runs start from each other. Correct `from` in the "
                "config.yaml of one"
            )
        visited.append(folder.resolve())
        earlier = read(folder)
        if earlier is None:
            return chain, folder
        chain.insert(0, (earlier, folder))
        start = earlier.start
    return chain, None


def earlier_runs(config: RunConfig, read: Callable[[Path], RunConfig]) -> list[EarlierRun]:
    """The chain of `from`, oldest first, each with its folder; `read` reads the recipe of a run folder.

    Raises ConfigError when their models differ, or for a chain that contains itself.
    """

    def read_same_model(folder: Path) -> RunConfig:
        earlier = read(folder)
        _refuse_other_model(config.model, earlier.model, folder)
        return earlier

    return lineage(config, read_same_model)[0]


def _refuse_other_model(model: ModelConfig, earlier: ModelConfig, folder: Path) -> None:
    found = model.model_dump()
    for key, value in earlier.model_dump().items():
        if found.get(key) != value:
            raise ConfigError(
                f"model.{key} is {found.get(key)!r}, but {folder} was trained with {value!r}. A run that starts `from` "
                "another has the same model section"
            )


def read_recipe(folder: Path) -> Document:
    """The recipe that a run folder holds, not validated. Raises RunError for a folder without one."""
    path = folder / "config.yaml"
    if not path.exists():
        raise RunError(
            f"{folder} is not a run folder: config.yaml is missing. Name a folder that a run wrote, such as runs/my-run"
        )
    return load_yaml(path)


def read_text_run(folder: Path, home: Path = CWD) -> TextRunConfig:
    """The recipe of a text run's folder, its relative paths resolved against `home`. Raises ConfigError, RunError."""
    document = read_recipe(folder)
    stage, model = document.values.get("stage", TEXT_STAGE), document.values.get("model")
    if stage not in TEXT_STAGES or (isinstance(model, dict) and "tower" in model):
        raise ConfigError(f"{folder} holds a run of stage {stage}; name the folder of a text run (stage: {TEXT_STAGE})")
    config = validate(document, TEXT_STAGES[stage])
    return config if home == CWD else rebased(config, home)
