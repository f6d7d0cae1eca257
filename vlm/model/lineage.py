"""The runs that a run starts from, one behind the other."""

from collections.abc import Callable
from pathlib import Path

from llm.config.schema import RunConfig
from llm.errors import ConfigError
from llm.train.build_model import EarlierRun


def lineage(config: RunConfig, read: Callable[[Path], RunConfig | None]) -> tuple[list[EarlierRun], Path | None]:
    """The chain of `from`, oldest first, each with its folder; and the folder for which `read` gave none, if one did.

    Raises ConfigError for a chain that meets itself, which has no oldest run.
    """
    chain: list[EarlierRun] = []
    met: list[Path] = []
    start = config.start
    while start:
        folder = Path(start)
        if folder.resolve() in met:
            loop = [*met[met.index(folder.resolve()) :], folder.resolve()]
            raise ConfigError(
                f"from: {' -> '.join(map(str, loop))}: these runs start from each other. Correct `from` in the "
                "config.yaml of one"
            )
        met.append(folder.resolve())
        earlier = read(folder)
        if earlier is None:
            return chain, folder
        chain.insert(0, (earlier, folder))
        start = earlier.start
    return chain, None
