"""`make soak`: runs that are killed, stopped or damaged, each compared with an uninterrupted one.

The parent imports everything once and forks; two workers with one child each use two cores. Nothing here computes in
the parent, so that what is forked holds no thread and no tensor. Writes benchmarks/results/soak.json.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401  # imported once for all children, as is what run_step imports
import peft  # noqa: F401

from llm.files.saved_checkpoints import list_checkpoints
from tests.soak.cases import CASES, Case, Known, Verdict
from tests.soak.child import LOG, Child, end_with_parent
from tests.soak.full_disk import refusals
from tests.soak.material import KINDS, STEPS, make_models, write_recipe
from tests.soak.proof import Course, course_of, refuse_uneven
from tests.soak.table import document, revision, table
from vlm.app import pipeline  # noqa: F401
from vlm.model import assembly  # noqa: F401
from vlm.plan import dry_run  # noqa: F401

RESULTS = Path("benchmarks/results/soak.json")
STEP_KILLS = 20
WORKERS = 2


def main() -> None:
    """Run all cases, write the results and print the table; exits with 1 if anything was wrong."""
    options = _options()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # torch reads it when it is imported
        sys.exit("tests.soak forks, which does not work with threads: run `make soak`, or set OMP_NUM_THREADS=1")
    root = Path(tempfile.mkdtemp(prefix="eyegraft-soak-"))
    tried, began = revision(), time.perf_counter()
    _apart(lambda: make_models(root))
    references(root)
    cases = cases_of(options.scale)
    print(f"{root}: {len(cases)} cases", flush=True)
    workers = [_fork(partial(_work, root, number, cases[number::WORKERS])) for number in range(WORKERS)]
    full = root / "full.json"
    full_disk = _fork(lambda: full.write_text(json.dumps(refusals())))
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (*workers, full_disk)]
    verdicts = [verdict for number in range(WORKERS) for verdict in _read(root / f"verdicts-{number}.jsonl")]
    refused = json.loads(full.read_text()) if full.exists() else "not run: the soak ended early"
    found = document(verdicts, refused, tried, time.perf_counter() - began, options.scale)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    for verdict in wrong:
        print(f"{verdict.case.name}: {verdict.where}: {'; '.join(verdict.wrong)}")
    whole = len(verdicts) == len(cases) and not any(statuses) and not wrong
    if whole:
        shutil.rmtree(root)
    else:
        print(f"{len(wrong)} of {len(cases)} cases are wrong, workers exited with {statuses}; see {root}")
    sys.exit(0 if whole else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the cases, to test the soak itself")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def cases_of(scale: float) -> list[Case]:
    """All cases, kinds in turn: 60 kills after a step, 33 at random, 24 in saves, 24 signals, 200 damaged runs."""
    counts = {
        "killed after a step": STEP_KILLS * len(KINDS),
        "killed at a random instant": 33,
        "killed inside a save": 24,
        "asked to stop": 24,
        "all checkpoints damaged": 160,
        "newest checkpoint damaged": 40,
    }
    return [
        Case(what, KINDS[number % len(KINDS)], number // len(KINDS) + 1)
        for what, count in counts.items()
        for number in range(max(1, round(count * scale)))
    ]


def references(root: Path) -> None:
    """One uninterrupted run of each kind; stage 2 starts from the first."""
    for kind in KINDS:
        folder = root / f"reference-{kind}"
        end = Child(write_recipe(kind, root, folder)).end()
        output = (folder / "output.txt").read_text(encoding="utf-8")
        assert end.status == 0, f"the uninterrupted {kind} run ended with {end.status}: {output}"
        assert len(list_checkpoints(folder / "run")) == 2
        refuse_uneven(course_of(folder), STEPS)


def _work(root: Path, number: int, cases: list[Case]) -> None:
    """One worker's cases, one after the other; verdicts are on disk as soon as they are known."""
    courses: dict[str, Course] = {kind: course_of(root / f"reference-{kind}") for kind in KINDS}
    seconds, victims = dict[str, float](), dict[str, Path]()
    for kind in KINDS:
        victims[kind] = root / f"victim-{number}-{kind}"
        end = Child(write_recipe(kind, root, victims[kind])).end()
        seconds[kind] = end.seconds  # timed as the cases will run: beside the other worker
        shutil.copytree(victims[kind], victims[kind].with_name(f"{victims[kind].name}-whole"))
        assert (victims[kind] / LOG).exists() and end.status == 0
    known = Known(root, courses, seconds, victims)
    with (root / f"verdicts-{number}.jsonl").open("w", encoding="utf-8") as stream:
        for case in cases:
            began = time.perf_counter()
            verdict = replace(CASES[case.what](case, known), seconds=time.perf_counter() - began)
            stream.write(json.dumps(asdict(verdict)) + "\n")
            stream.flush()
            print(f"{case.name}: {'; '.join(verdict.wrong) or 'as promised'} ({verdict.where})", flush=True)


def _read(path: Path) -> list[Verdict]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [Verdict(Case(**row.pop("case")), **row) for row in rows]


def _fork(work: Callable[[], object]) -> int:
    """Do something in a process of its own; its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    end_with_parent()
    try:
        work()
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        os._exit(status)


def _apart(work: Callable[[], object]) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(_fork(work), 0)[1]) == 0, "see above"


if __name__ == "__main__":
    main()
