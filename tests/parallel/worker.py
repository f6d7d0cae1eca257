"""One of several processes that train a list of recipes, one after the other; its argument is the list's file.

Starting a process costs more than all these runs, so one launched group does them all. A watchdog ends a process, with
the stack it hangs in, when no step has ended for a minute.
"""

import faulthandler
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from llm import distributed
from llm.config.schema import RunConfig
from llm.errors import TrainingError
from llm.train import loop
from tests.planted import planted
from tests.plots import draw_each_kind_once
from vlm.app.launch import worker_output
from vlm.config import SCHEMAS
from vlm.evaluate.train_run import train
from vlm.ready_config import ReadyRunConfig

STEP_S = 60
START_S = 600  # a model is loaded


def main() -> None:
    """Train every recipe of the list."""
    loop._over_processes = watched(loop._over_processes)
    draw_each_kind_once()
    with distributed.process_group() as ranks, worker_output(ranks.rank):
        for recipe in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
            value = recipe.pop("planted", None)
            config = run_config(recipe)
            print(f"== {config.name}", flush=True)
            gc.freeze()  # ZeRO 3 collects garbage at each start: not among all that was imported
            gc.enable()
            faulthandler.dump_traceback_later(START_S, exit=True)
            if value is None:
                train(config, Path.cwd(), anyway=True)
            else:
                spoil(config, float(value), ranks.rank)
            faulthandler.cancel_dump_traceback_later()
    assert not hasattr(torch.ops.deepspeed, "inference_all_reduce_"), "DeepSpeed compiled what training does not use"


def run_config(recipe: dict[str, Any]) -> RunConfig:
    """A recipe of a training run."""
    schema = ReadyRunConfig if "vlm" in recipe["model"] else SCHEMAS[recipe["stage"]]
    config = schema.model_validate(recipe)
    assert isinstance(config, RunConfig)
    return config


def spoil(config: RunConfig, value: float, rank: int) -> None:
    """Train with a gradient in the second process that is not finite; each process writes its error to a file."""
    with planted(value, rank=1) as spoiler:
        try:
            train(config, Path.cwd(), anyway=True)
            said = "trained to its end"
        except TrainingError as error:
            said = str(error)
        found = {"said": said, "moved": spoiler.moved()}
    (Path(config.out) / f"spoilt-{rank}.json").write_text(json.dumps(found), encoding="utf-8")


def watched(end_of_step: Callable[..., Any]) -> Callable[..., Any]:
    """As `advance`, and restart the watchdog: the next step has a minute."""

    def end(*args: Any) -> Any:
        ended = end_of_step(*args)
        faulthandler.dump_traceback_later(STEP_S, exit=True)
        return ended

    return end
