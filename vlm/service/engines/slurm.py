"""Attempts as Slurm jobs: sbatch runs the wrapper, and srun inside it the ranks, on as many machines as Slurm chooses.

Slurm forgets finished jobs after MinJobAge, so that only `exit.json` says how an attempt ended. The ranks look for the
file `stop` themselves: `scancel --signal` loses signals that come before a step has begun, and needs the controller.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from llm.files.atomic_files import write_atomically
from vlm.service.attempts.exit_record import AGAIN, is_over
from vlm.service.attempts.job_lock import is_locked
from vlm.service.attempts.process_identity import NAME as IDENTITY
from vlm.service.attempts.process_identity import died_here
from vlm.service.attempts.verdict import Life
from vlm.service.engines.engine import Health, NativeState, Start
from vlm.service.engines.slurm_commands import SlurmCommands
from vlm.service.engines.start_file import write_start
from vlm.service.store.rows import Attempt

SCRIPT, LOG = "slurm.sh", "slurm.log"
RANK = "vlm.service.engines.slurm_rank"
# States of `squeue`; any other one, such as FAILED or NODE_FAIL, is of an attempt that is over.
LIVES: dict[str, Life] = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"), "pending"),
    **dict.fromkeys(("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"), "running"),
}


class SlurmEngine:
    """Slurm's own queue, on the machines that it manages; the service's folder is on a disk that all of them share."""

    name = "slurm"
    queues = True

    def __init__(self, attempt_folder: Callable[[Attempt], Path], options: Sequence[str] = ()) -> None:
        """`options`: of sbatch, such as --partition=gpu."""
        self._folder, self._options, self._run = attempt_folder, tuple(options), SlurmCommands()

    def probe(self, fresh: bool = False) -> Health:
        """Whether a partition is up."""
        found = self._run("sinfo", "-h", "-o", "%a")
        return Health("up" in found.split(), "" if "up" in found.split() else "no partition is up", ())

    def submit(self, start: Start) -> str:
        """Submit once: an attempt that Slurm knows, or that has run, is not submitted again."""
        name = _job_name(start.attempt)
        known = self._run("squeue", "-h", f"--name={name}", "--states=all", "-o", "%i").split()
        if known:
            return known[0]
        if (start.folder / IDENTITY).exists():
            return "ended"
        ranks = ("srun", "--kill-on-bad-exit=1", sys.executable, "-P", "-m", RANK, str(start.folder))
        environment = {**start.environment, "SLURM_EXIT_ERROR": str(AGAIN)}  # srun's own errors, not training's
        command = (*ranks, *start.rank_command)
        write_start(replace(start, command=command, environment=environment), stops_itself=True)
        write_atomically(start.folder / SCRIPT, _script(start.folder))
        found = self._run(
            "sbatch",
            "--parsable",
            f"--job-name={name}",
            "--no-requeue",
            f"--ntasks={start.processes}",
            *(["--gpus-per-task=1"] if "gpu" in self._run("sinfo", "-h", "-o", "%G") else []),
            f"--output={start.folder / LOG}",
            f"--chdir={start.cwd}",
            *self._options,
            str(start.folder / SCRIPT),
        )
        return found.strip().partition(";")[0]

    def poll(self, attempts: Sequence[Attempt]) -> dict[str, NativeState]:
        """Slurm's word; an attempt that it has forgotten lives as long as the job's lock is held."""
        names = {_job_name(attempt): attempt for attempt in attempts}
        found = self._run("squeue", "-h", f"--name={','.join(names)}", "--states=all", "-o", "%j|%T|%r|%N")
        known: dict[str, NativeState] = {}
        for line in found.splitlines():
            name, state, reason, hosts = line.split("|", 3)
            if name in names and state in LIVES:
                if LIVES[state] == "running" and self._is_ghost(names[name]):
                    self._run("scancel", f"--name={name}")  # its ranks are killed before it counts as gone
                known[names[name].name] = NativeState(LIVES[state], reason, tuple(filter(None, [hosts])))
        return {attempt.name: known.get(attempt.name) or self._forgotten(attempt) for attempt in attempts}

    def withdraw(self, attempt: Attempt) -> None:
        """Cancel a job that waits."""
        self._run("scancel", "--state=PENDING", f"--name={_job_name(attempt)}")

    def kill(self, attempt: Attempt) -> None:
        """Let Slurm end the ranks and the wrapper: it continues them, sends SIGTERM, and SIGKILL after its KillWait."""
        self._run("scancel", "--signal=KILL", f"--name={_job_name(attempt)}")

    def _is_ghost(self, attempt: Attempt) -> bool:
        """Whether Slurm holds a dead job for running: a controller that is killed forgets its last five seconds.

        Known of jobs on this machine; of others Slurm finds out at the next registration of their node.
        """
        folder = self._folder(attempt)
        return died_here(folder) and not is_over(folder) and not is_locked(folder.parent)

    def _forgotten(self, attempt: Attempt) -> NativeState:
        return NativeState("running" if is_locked(self._folder(attempt).parent) else "gone")


def _job_name(attempt: Attempt) -> str:
    return f"ey-{attempt.name}"


def _script(folder: Path) -> str:
    return (
        f"#!/bin/bash\nexec {shlex.join([sys.executable, '-P', '-m', 'vlm.service.attempts.wrapper', str(folder)])}\n"
    )
