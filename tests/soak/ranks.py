"""`python -m tests.soak.ranks`: one of two processes is killed, twenty times; each time the other must end in seconds.

The run goes on from its last checkpoint each time, and ends as one of two processes that nobody interrupted. Writes
benchmarks/results/ranks.json.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llm.files.saved_checkpoints import find_checkpoint, weights_digest
from llm.train.metrics import read_metrics
from tests.parallel.watching import alive, started, until_step, workers_of
from tests.soak.material import make_models, write_recipe
from tests.soak.table import machine

KILLS = 20
LIMIT_S = 30
LONGER = ("train.epochs=100", "train.max_steps=600", "train.save_every=7")  # enough to be killed twenty times
RESULTS = Path("benchmarks/results/ranks.json")


def main() -> None:
    """Kill, check and resume; exits with 1 if anything was wrong."""
    root = Path(tempfile.mkdtemp(prefix="eyegraft-ranks-"))
    make_models(root)
    whole, killed = (write_recipe("sft", root, root / name) for name in ("whole", "killed"))
    began = time.perf_counter()
    to_the_end(whole)
    draw, seconds, wrong = random.Random(0), list[float](), list[str]()
    for number in range(KILLS):
        gone, said = kill_one(killed, draw)
        seconds.append(round(gone, 1))
        wrong += said
        print(f"kill {number + 1}: gone after {gone:.1f} s{'; '.join(['', *said])}", flush=True)
    to_the_end(killed)
    wrong += differences(whole.parent / "run", killed.parent / "run")
    found = {
        "kills": KILLS,
        "seconds": seconds,
        "wrong": wrong,
        "minutes": round((time.perf_counter() - began) / 60, 1),
    }
    RESULTS.write_text(json.dumps(found | {"machine": machine()}, indent=1) + "\n", encoding="utf-8")
    print(f"{KILLS} kills, the others gone after {max(seconds)} s at most; {'; '.join(wrong) or 'as promised'}")
    sys.exit(bool(wrong))


def kill_one(recipe: Path, draw: random.Random) -> tuple[float, list[str]]:
    """Kill a random rank some steps on; seconds until all are gone, and what was not as promised."""
    run = recipe.parent / "run"
    rows = read_metrics(run, "train")
    with started(recipe, *LONGER) as process:
        until_step(run, (rows[-1]["step"] if rows else 0) + draw.randrange(1, 12))
        workers = workers_of(process.pid)
        time.sleep(draw.random() * 0.1)
        os.kill(draw.choice(workers), signal.SIGKILL)
        began = time.monotonic()
        try:
            _, errors = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return LIMIT_S, [f"still there after {LIMIT_S} s"]
    wrong = [f"{pid} is still running" for pid in workers if alive(pid)]
    if process.returncode != 1 or "was killed by SIGKILL" not in errors:
        wrong.append(f"it ended with {process.returncode}: {errors[-300:]}")
    return time.monotonic() - began, wrong


def to_the_end(recipe: Path) -> None:
    """Resume until the run is finished."""
    with started(recipe, *LONGER) as process:
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def differences(whole: Path, killed: Path) -> list[str]:
    """What differs in the interrupted run: metrics bit for bit, and the final weights."""
    one, other = ([(row["step"], row["loss"].hex()) for row in read_metrics(run, "train")] for run in (whole, killed))
    wrong = [] if one == other else ["the losses differ"]
    same = weights_digest(find_checkpoint(whole)) == weights_digest(find_checkpoint(killed))
    return wrong if same else [*wrong, "the final weights differ"]


if __name__ == "__main__":
    main()
