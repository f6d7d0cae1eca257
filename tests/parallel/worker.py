"""One of several processes that train a list of recipes, one after the other: `python -m tests.parallel.worker LIST`.

Starting a process costs more than all these runs, so one launched group does them all.
"""

import json
import sys
from pathlib import Path

from llm import dist
from llm.config import RunConfig
from vlm.config import SCHEMAS
from vlm.launch import worker_output
from vlm.run import train


def main() -> None:
    """Train every recipe of the list."""
    with dist.joined() as ranks:
        worker_output(ranks.rank)
        for recipe in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
            config = SCHEMAS[recipe["stage"]].model_validate(recipe)
            assert isinstance(config, RunConfig)
            print(f"== {config.name}", flush=True)
            train(config, Path.cwd(), anyway=True)


if __name__ == "__main__":
    main()
