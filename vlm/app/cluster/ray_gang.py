"""One torchrun on each of several machines of a Ray cluster:

    python -m vlm.app.cluster.ray_gang NODES GPUS FOLDER COMMAND...

Ray Jobs starts its entrypoint on one machine and knows no gang. Here all machines are reserved or none; when the
processes of one have failed, those of the others are ended too; nothing is started again; and SIGTERM, by which Ray
stops a job, is passed on to every torchrun once: the running step is finished and saved. Ray itself is the cluster's.
"""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from vlm.app.cluster.job import PORT

POLL_S = 1.0
STOPPED = 128 + signal.SIGTERM
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Machine:
    """What runs on one machine, as an actor of two threads: `run` waits while `stop` may be called."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def address(self) -> str:
        """The address by which the other machines reach this one."""
        import ray

        return str(ray.util.get_node_ip_address())

    def run(self, command: Sequence[str], folder: str) -> int:
        """Run a command in a folder; returns its exit code as shells count it."""
        if self._is_stopped:
            return STOPPED
        self._process = subprocess.Popen(command, cwd=folder, start_new_session=True, preexec_fn=_die_with_parent)
        if self._is_stopped:  # meanwhile
            self.stop()
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Send SIGTERM to the command, or do not start it."""
        self._is_stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)


def main(nodes: int, gpus: int, folder: str, command: Sequence[str]) -> int:
    """Run a training command with `gpus` processes on each of `nodes` machines.

    Returns the first exit code that is not 0.
    """
    import ray

    ray.init()
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))  # after Ray has set its own
    machines = _reserve(nodes, gpus)
    head = ray.get(machines[0].address.remote())
    started = ["torchrun", f"--nnodes={nodes}", f"--nproc-per-node={gpus}", f"--master-addr={head}"]
    started += [f"--master-port={PORT}"]
    runs = [
        machine.run.remote([*started, f"--node-rank={rank}", "--no-python", *command], folder)
        for rank, machine in enumerate(machines)
    ]
    return _watch(machines, runs, signals)


def _reserve(nodes: int, gpus: int) -> list[Any]:
    """An actor on each of so many machines, once all of them have room."""
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group([{"CPU": 1, "GPU": gpus}] * nodes, strategy="STRICT_SPREAD")
    ray.get(group.ready())
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_concurrency=2)(Machine)
    places = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank) for rank in range(nodes)]
    return [actor.options(scheduling_strategy=place).remote() for place in places]


def _watch(machines: list[Any], runs: list[Any], signals: list[int]) -> int:
    """Wait for all; the others are stopped, once, when one has failed or a signal has come."""
    import ray

    code, is_stopped = 0, False
    while runs:
        ended, runs = ray.wait(runs, timeout=POLL_S)
        for found in ray.get(ended):
            code = code or found
        if (code or signals) and not is_stopped:
            is_stopped = True
            ray.get([machine.stop.remote() for machine in machines])
    return int(code)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
