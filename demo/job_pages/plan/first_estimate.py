"""The least memory of a job by a formula, at once and without torch: what its weights take, before any activation."""

import json
from functools import lru_cache
from math import prod
from pathlib import Path

from llm.config.schema import RunConfig

LONGEST_HEADER = 1 << 26  # bytes; the format allows 100 MB
FROZEN, FOUR_BIT = 2.0, 0.5  # bytes of a weight that is not trained, in bf16 and in 4 bits
TRAINED, TRAINED_8BIT = 16.0, 10.0  # with its gradient and moments; in bf16 there is a master beside it


def least_bytes(config: RunConfig) -> int:
    """What the base model of a recipe takes at least; 0 where it cannot be known without loading it."""
    parameters = parameters_of(Path(config.model.llm))
    if config.parallel.zero:  # processes share it
        return 0
    if config.tune.kind == "full":
        each = TRAINED_8BIT if config.optim.name.endswith("8bit") else TRAINED
    else:
        each = FOUR_BIT if config.tune.kind == "qlora" or config.tune.four_bit else FROZEN
    return int(parameters * each)


def parameters_of(folder: Path) -> int:
    """The number of weights in a folder's safetensors files, by their headers; 0 for a folder without any."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    try:
        return sum(_parameters(file, file.stat().st_mtime_ns) for file in files)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # a damaged file is for the gate to name
        return 0


@lru_cache(maxsize=200)
def _parameters(file: Path, _changed: int) -> int:
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > LONGEST_HEADER:
            raise ValueError(f"{file}: a header of {size} bytes")
        header = json.loads(stream.read(size))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
