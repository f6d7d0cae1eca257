"""One rank of a Slurm step: `python -m vlm.service.engines.slurm_rank FOLDER COMMAND...`.

It names the rank as torchrun would, and sends it SIGTERM when `stop` appears in the attempt's folder.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from vlm.service.attempts.stop_file import die_with_parent, exit_code, stop_when_asked

FIRST_PORT, PORTS = 20_000, 20_000


def main(folder: Path, command: list[str]) -> int:
    """Run the command as this rank; returns its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # Slurm sends its signals to the command, too
    environment = {**os.environ, **rank_environment(dict(os.environ))}
    child = subprocess.Popen(command, env=environment, close_fds=False, preexec_fn=die_with_parent)
    stop_when_asked(folder, child)
    return exit_code(child.wait())


def rank_environment(slurm: dict[str, str]) -> dict[str, str]:
    """The variables of torchrun, from those of srun; none for a single task."""
    world = int(slurm["SLURM_NTASKS"])
    if world == 1:
        return {}
    local_world = slurm.get("SLURM_NTASKS_PER_NODE") or slurm["SLURM_TASKS_PER_NODE"].partition("(")[0].split(",")[0]
    return {
        "RANK": slurm["SLURM_PROCID"],
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": local_world,
        "MASTER_ADDR": _first_host(slurm),
        "MASTER_PORT": str(FIRST_PORT + int(slurm["SLURM_JOB_ID"]) % PORTS),
    }


def _first_host(slurm: dict[str, str]) -> str:
    if slurm["SLURM_NNODES"] == "1":
        return "127.0.0.1"
    command = ["scontrol", "show", "hostnames", slurm["SLURM_JOB_NODELIST"]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
