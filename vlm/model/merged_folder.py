"""Folders whose weights have an adapter merged into them: what is lost when they are rounded to few bits."""

from functools import partial
from pathlib import Path

from llm.config.rebased_paths import CWD
from llm.config.schema import RunConfig
from llm.files.folder_mark import read_mark
from llm.log import logger
from llm.train.earlier_runs import lineage
from vlm.model.run_recipe import read_run_config

ROUNDING = (
    "Rounded to 4 bits these weights lose what the adapter learnt, to 8 bits some of it; for few bits write base and "
    "adapter by `eyegraft export RUN DIR --to peft` and open DIR with --bits"
)


def warn_of_rounding(folder: Path, bits: int) -> None:
    """Log a warning where weights with a merged adapter are loaded in `bits` 4 or 8."""
    mark = read_mark(folder)
    if bits and mark is not None and mark.merged:
        logger.warning(f"{folder}: an adapter ({mark.merged}) is merged into it. {ROUNDING}")


def adapters_of_earlier_runs(config: RunConfig, home: Path = CWD) -> str:
    """`qlora` or `lora` when a run that this one started from trained adapters, which are merged; else empty."""
    return _kind([run for run, _ in lineage(config, partial(read_run_config, home=home))[0]])


def merged_adapters(config: RunConfig) -> str:
    """The same of a run whose own adapters are merged too."""
    return _kind([config, *(run for run, _ in lineage(config, read_run_config)[0])])


def _kind(runs: list[RunConfig]) -> str:
    adapted = [run.tune for run in runs if run.tune.kind in ("lora", "qlora")]
    return "" if not adapted else "qlora" if any(tune.in_four_bits for tune in adapted) else "lora"
