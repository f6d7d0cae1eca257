"""`python -m tests.soak.gangs`: jobs of two processes on both engines, each paused once, against one torchrun.

On the local engine `eyegraft train --nproc 2` starts them, on Slurm `srun --ntasks=2`; gloo on the CPU. Losses and
final weights have to be those of `torchrun --nproc-per-node 2`, bit for bit. Adds to benchmarks/results/service.json.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llm.train.metrics import read_metrics
from tests.soak.material import make_models, write_recipe
from tests.soak.service import LONGER, RESULTS, course
from tests.vlm.service.driving import job_of, tick_until, wait_for
from tests.vlm.service.fake_service import PATH, SLOTS
from tests.vlm.service.slurm_cluster import SlurmCluster, unavailable
from vlm.service.engines.engine import Engine, Start
from vlm.service.engines.local import LocalEngine
from vlm.service.engines.slurm import SlurmEngine
from vlm.service.layout import Layout
from vlm.service.requests import pause, resume
from vlm.service.store.database import Database
from vlm.service.store.job_table import NewJob, jobs_in, move, submit
from vlm.service.store.rows import Attempt, Job
from vlm.service.store.states import State
from vlm.service.supervisor import Supervisor

PROCESSES = 2


def main() -> None:
    """Run it; exits with 1 if anything was wrong."""
    root, began = Path(tempfile.mkdtemp(prefix="eyegraft-gangs-")), time.perf_counter()
    make_models(root)
    recipe = write_recipe("sft", root, root / "recipe")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES), "-m", "vlm.app"]
    subprocess.run([sys.executable, *torchrun, "train", str(recipe), f"out={root / 'alone'}", *LONGER], check=True)
    reason = unavailable()
    cluster = None if reason else SlurmCluster(root / "slurm")
    try:
        wrong = [
            f"{engine}: the losses or weights differ from torchrun's"
            for engine in ("local", *(["slurm"] if cluster else []))
            if course(trained(root / f"job-{engine}", engine, recipe)) != course(root / "alone")
        ]
    finally:
        if cluster is not None:
            cluster.close()
    found = {
        "processes": PROCESSES,
        "engines": 2 if cluster else 1,
        "paused": "once each",
        "seconds": round(time.perf_counter() - began),
        "wrong": wrong,
    }
    print(json.dumps(found, indent=1))
    document = json.loads(RESULTS.read_text(encoding="utf-8"))
    RESULTS.write_text(json.dumps(document | {"two_processes": found}, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(wrong))


def trained(root: Path, engine: str, recipe: Path) -> Path:
    """The run folder of a job of two processes that was paused once."""
    root.mkdir()
    database, supervisor, layout = service(root, engine, recipe)
    name = submit(database, NewJob({}, "base", {}, "file-1", engine=engine, processes=PROCESSES))[0].id
    run = layout.run(name)
    tick_until(supervisor, lambda: read_metrics(run, "train"), "it trains")
    pause(database, name)
    wait_for(supervisor, database, name, State.PAUSED)
    resume(database, name)
    wait_for(supervisor, database, name, State.SUCCEEDED)
    assert job_of(database, name).processes == PROCESSES
    return run


def service(root: Path, engine: str, recipe: Path) -> tuple[Database, Supervisor, Layout]:
    """A supervisor whose jobs train the recipe."""
    layout = Layout(root)
    database = Database(layout.database)

    def start_of(job: Job, attempt: Attempt) -> Start:
        one = (sys.executable, "-m", "vlm.app", "train", str(recipe), f"out={layout.run(job.id)}", *LONGER)
        all_here = (*one, "--nproc", str(job.processes))
        return Start(attempt, layout.attempt(attempt), all_here, one, {"PYTHONPATH": PATH}, root, job.processes)

    def validate() -> None:
        for job in jobs_in(database, {State.VALIDATING}):
            move(database, job.id, {State.VALIDATING}, State.QUEUED, recipe="real")

    local = LocalEngine(layout.attempt, lambda _: SLOTS)
    engines: dict[str, Engine] = {"local": local, "slurm": SlurmEngine(layout.attempt)}
    return database, Supervisor(database, layout, {engine: engines[engine]}, start_of, validate), layout


if __name__ == "__main__":
    main()
