"""`python -m tests.soak.service`: jobs of the training service over kills, each compared with an uninterrupted one.

Twelve jobs over both engines, of which four train a tiny model for real and eight are the fake trainer of tests/vlm/
service; four of these are cancelled. Forty times a random process is killed (the service, a wrapper, a trainer,
slurmctld, slurmd) at a chosen instant of a job's life, while jobs are paused and resumed on either engine. Then fifty
equal requests at once over HTTP. Writes benchmarks/results/service.json.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx2

from demo.jobs.launch import ServiceOptions, read_token, running
from demo.server.guard import LOOPBACK
from llm.files.saved_checkpoints import list_checkpoints
from llm.train.metrics import read_metrics
from tests.demo.conftest import LIMITS, listening
from tests.soak.material import make_models, write_recipe
from tests.soak.table import machine, revision
from tests.vlm.service.driving import (
    add,
    hold,
    job_of,
    kill_trainer,
    kill_wrapper,
    messages,
    seen_losses,
    start_service,
    written_losses,
)
from tests.vlm.service.fake_trainer import losses
from tests.vlm.service.slurm_cluster import SlurmCluster, unavailable
from vlm.service.engines.engine import Slot
from vlm.service.layout import Layout
from vlm.service.requests import cancel, pause, resume
from vlm.service.store.attempt_table import attempts_of, leased_slots, living_attempts
from vlm.service.store.database import Database
from vlm.service.store.job_table import NewJob, StateConflictError, list_jobs, submit
from vlm.service.store.states import State
from vlm.service.trainable_models import TrainableModels

RESULTS = Path("benchmarks/results/service.json")
REAL, FAKE, CANCELLED = 4, 8, 4  # jobs; the cancelled ones are fakes
STEPS = 60  # of a fake
LONGER = ("train.epochs=100", "train.max_steps=120", "train.save_every=3", "train.log_every=5")
INSTANTS = ("submit", "start", "run", "save", "pause", "cancel", "finish")
SUBMITS = 50
WAIT_S = 8.0  # for an instant to come; then the kill is made anyway, as "run"


@dataclass
class Soak:
    """What is under test, and what was done to it."""

    root: Path
    cluster: SlurmCluster | None
    chance: random.Random
    recipe: Path
    database: Database = field(init=False)
    service: "subprocess.Popen[bytes]" = field(init=False)
    real: list[str] = field(default_factory=list)
    fake: list[str] = field(default_factory=list)
    doomed: list[str] = field(default_factory=list)
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    moves: int = 0
    pauses: int = 0

    def __post_init__(self) -> None:
        self.engines = ("local", "slurm") if self.cluster else ("local",)
        self.root.mkdir()
        self.database = Database(Layout(self.root).database)
        self.service = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """A new service."""
        return start_service(self.root, *self.engines)

    def alive(self, names: list[str]) -> list[str]:
        """Those of the jobs that have not ended."""
        return [name for name in names if not job_of(self.database, name).is_final]

    def in_state(self, *states: State) -> list[str]:
        """The jobs in one of the states."""
        return [job.id for job in list_jobs(self.database, 100)[0] if job.state in states]

    def add(self, real: bool) -> str:
        """Submit a job on one of the engines."""
        engine = self.chance.choice(self.engines)
        if not real:
            name = add(self.database, STEPS, 0.05, engine=engine)
            self.fake.append(name)
            return name
        request = {"recipe": str(self.recipe), "more": list(LONGER)}
        name = submit(self.database, NewJob(request, "base", {}, "file-1", engine=engine))[0].id
        self.real.append(name)
        return name


def main() -> None:
    """Run it, write the result; exits with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    tried, began = revision(), time.perf_counter()
    root = Path(tempfile.mkdtemp(prefix="eyegraft-service-"))
    make_models(root)
    recipe = write_recipe("sft", root, root / "recipe")
    train_alone(recipe, root / "alone")
    reason = unavailable()
    cluster = None if reason else SlurmCluster(root / "slurm")
    soak = Soak(root / "service", cluster, random.Random(options.seed), recipe)
    try:
        kill_all(soak, options.kills)
        wrong = check(soak, root / "alone")
    finally:
        soak.service.kill()
        if cluster is not None:
            cluster.close()
    jobs = equal_submits(root)
    wrong += [] if jobs == 1 else [f"{SUBMITS} equal submits made {jobs} jobs"]
    found = document(soak, jobs, wrong) | {
        "command": "python -m tests.soak.service",
        "date": f"{date.today()}",
        "revision": tried,
        "machine": machine() | {"slurm": reason or version_of_slurm()},
        "seconds": round(time.perf_counter() - began),
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    if not wrong:
        shutil.rmtree(root)
    sys.exit(bool(wrong))


def train_alone(recipe: Path, out: Path) -> None:
    """The run that nobody interrupts."""
    subprocess.run([sys.executable, "-m", "vlm.app", "train", str(recipe), f"out={out}", *LONGER], check=True)


def kill_all(soak: Soak, kills: int) -> None:
    """Kill until the number is reached; jobs that end before that are replaced by fakes."""
    for number in range(REAL + FAKE - 2):  # the others are submitted at the instant of a kill
        name = soak.add(real=number < REAL)
        if number >= REAL + FAKE - 2 - CANCELLED:
            soak.doomed.append(name)
            hold(soak.root, name)
    until = time.monotonic() + 3600
    while soak.kills.total() < kills or soak.in_state(*set(State) - {State.SUCCEEDED, State.FAILED, State.CANCELLED}):
        assert time.monotonic() < until, [(job.id, job.state) for job in list_jobs(soak.database, 100)[0]]
        if soak.service.poll() is not None:
            soak.service = soak.start()
        resume_paused(soak)
        if soak.cluster is not None:
            soak.cluster.heal()
        if soak.kills.total() < kills:
            if len(soak.in_state(State.QUEUED, State.STARTING, State.RUNNING)) < 2:
                soak.add(real=False)
            possible = [one for one in INSTANTS if one != "cancel" or soak.alive(soak.doomed)]
            kill_at(soak, soak.chance.choice(possible))
            print(f"{soak.kills.total()} kills", flush=True)
        else:
            for name in soak.alive(soak.doomed):
                with suppress(StateConflictError):
                    cancel(soak.database, name)
            time.sleep(0.5)


def resume_paused(soak: Soak) -> None:
    """Let paused jobs go on, on either engine."""
    for name in soak.in_state(State.PAUSED):
        engine = soak.chance.choice(soak.engines)
        soak.moves += engine != job_of(soak.database, name).engine
        resume(soak.database, name, engine)


def kill_at(soak: Soak, instant: str) -> None:
    """Bring about the instant, or wait for it, and kill something."""
    act: dict[str, Callable[[], object]] = {
        "submit": lambda: soak.add(real=False),
        "start": lambda: wait_until(lambda: soak.in_state(State.STARTING)),
        "run": lambda: wait_until(lambda: soak.in_state(State.RUNNING)),
        "save": lambda: wait_until(lambda: list(soak.root.glob("jobs/*/run/checkpoints/.step-*.partial"))),
        "pause": lambda: pause_one(soak),
        "cancel": lambda: cancel_one(soak),
        "finish": lambda: finish_one(soak),
    }
    if not act[instant]():
        instant = "run"
    if instant not in ("save", "start"):
        time.sleep(soak.chance.uniform(0, 0.6))
    victim = kill_something(soak)
    if victim:
        soak.kills[victim, instant] += 1


def wait_until(found: Callable[[], object]) -> bool:
    """Whether it was found in time."""
    until = time.monotonic() + WAIT_S
    while not found():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


def pause_one(soak: Soak) -> bool:
    """Ask a job that runs, waits or starts to pause."""
    names = [name for name in soak.in_state(State.RUNNING, State.STARTING, State.QUEUED) if name not in soak.doomed]
    if not names:
        return False
    with suppress(StateConflictError):
        pause(soak.database, soak.chance.choice(names))
        soak.pauses += 1
    return True


def cancel_one(soak: Soak) -> bool:
    """Cancel one of the jobs that are to be, once it runs."""
    names = [name for name in soak.alive(soak.doomed) if job_of(soak.database, name).state is State.RUNNING]
    if not names:
        return False
    cancel(soak.database, names[0])
    return True


def finish_one(soak: Soak) -> bool:
    """Wait until a fake is in its last steps."""

    def last_steps() -> bool:
        return any(
            len(seen_losses(soak.database, name)) > STEPS - 6
            for name in soak.alive(soak.fake)
            if name not in soak.doomed
        )

    return wait_until(last_steps)


def kill_something(soak: Soak) -> str:
    """Kill a process; which it was, empty where there was none."""
    victims = ["service", "wrapper", "trainer", "trainer", *(["slurmctld", "slurmd"] if soak.cluster else [])]
    victim = soak.chance.choice(victims)
    if victim == "service":
        soak.service.kill()
        soak.service.wait()
        return victim
    if soak.cluster is not None and victim.startswith("slurm"):
        soak.cluster.kill(victim)
        time.sleep(soak.chance.uniform(0, 1.0))
        soak.cluster.start(victim)
        return victim
    living = living_attempts(soak.database)
    soak.chance.shuffle(living)
    for attempt in living:
        if kill_trainer(soak.root, attempt.job) if victim == "trainer" else kill_wrapper(soak.root, attempt):
            return victim
    return ""


def check(soak: Soak, alone: Path) -> list[str]:
    """What is not as promised."""
    wrong = [f"{name} has a lease" for name in leased_slots(soak.database).values()]
    for name in (*soak.real, *soak.fake):
        job, run = job_of(soak.database, name), Layout(soak.root).run(name)
        wanted = State.CANCELLED if name in soak.doomed else State.SUCCEEDED
        said = messages(soak.database, name)
        ends = sum("successfully" in one or "job cancelled" in one for one in said)
        if job.state is not wanted or ends != 1 or (run / "DOUBLED").exists():
            wrong.append(f"{name} is {job.state} ({ends} ends): {said[-3:]}")
        elif name in soak.real and course(run) != course(alone):
            wrong.append(f"{name}: its losses or weights differ from those of an uninterrupted run")
        elif name in soak.fake and name not in soak.doomed and not fake_is_exact(soak, name):
            wrong.append(f"{name}: its losses differ from those of an uninterrupted run")
    return wrong


def fake_is_exact(soak: Soak, name: str) -> bool:
    """Whether a fake's events and folder have the losses of an uninterrupted run."""
    return seen_losses(soak.database, name) == losses(STEPS) == written_losses(soak.root, name)


def course(run: Path) -> tuple[list[dict[str, Any]], bytes]:
    """The lines of metrics without times, and the final weights."""
    figures = ("kind", "step", "epoch", "loss", "lr", "grad_norm")
    lines = [{key: line[key] for key in figures if key in line} for line in read_metrics(run)]
    return lines, (list_checkpoints(run)[-1] / "trainable.safetensors").read_bytes()


def equal_submits(root: Path) -> int:
    """Equal requests at once with one Idempotency-Key; how many jobs they are."""
    folder = root / "http"
    token = read_token(folder)
    models = TrainableModels({"tiny": root / "llama"}, frozenset())
    options = ServiceOptions(folder, models, (Slot("cpu", "cpu", 1 << 34),), token, LOOPBACK, LIMITS)
    with running(options) as (app, _), listening(app) as url:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one"}
        with httpx2.Client(base_url=url, headers=headers, timeout=120) as client:
            content = (root / "chats.jsonl").read_bytes()
            file = client.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", content)}).json()
            body = {"model": "tiny", "training_file": file["id"]}
            together, found = threading.Barrier(SUBMITS), list[str]()

            def send() -> None:
                together.wait()
                found.append(str(client.post("/v1/fine_tuning/jobs", json=body).json().get("id")))

            threads = [threading.Thread(target=send) for _ in range(SUBMITS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            jobs = client.get("/v1/fine_tuning/jobs").json()["data"]
            client.post(f"/v1/fine_tuning/jobs/{jobs[0]['id']}/cancel")
    return len({*found, *(job["id"] for job in jobs)}) if len(found) == SUBMITS else 0


def document(soak: Soak, jobs: int, wrong: list[str]) -> dict[str, Any]:
    """The content of service.json."""
    names = (*soak.real, *soak.fake)
    return {
        "kills": soak.kills.total(),
        "killed": dict(sorted(Counter(victim for victim, _ in soak.kills.elements()).items())),
        "instants": dict(sorted(Counter(instant for _, instant in soak.kills.elements()).items())),
        "jobs": {"real": len(soak.real), "fake": len(soak.fake), "of them cancelled": len(soak.doomed)},
        "attempts": sum(len(attempts_of(soak.database, name)) for name in names),
        "pauses": soak.pauses,
        "moves": soak.moves,
        "equal_submits": {"requests": SUBMITS, "jobs": jobs},
        "wrong": wrong,
    }


def version_of_slurm() -> str:
    """As `sbatch --version` has it."""
    return subprocess.run(["sbatch", "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
