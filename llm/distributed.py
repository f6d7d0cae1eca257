"""The processes of one run: rank and world size, and the few collectives that are used.

Without a process group every collective returns its input at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as group

from llm.devices import accelerator
from llm.errors import ConfigError, PeerLostError

TIMEOUT = timedelta(hours=2)  # rank 0 reads a large data set while the others wait
LOST = ("onnection", "peer", "Gloo", "CCL", "imed out")  # parts of the messages of collectives whose peer is gone


@dataclass(frozen=True, slots=True)
class Ranks:
    """Rank of this process, world size, and rank on its own machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone writes files and logs."""
        return self.rank == 0


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the process group of torchrun's environment variables; without them do nothing.

    Raises PeerLostError when another process ends or loses its connection during a collective, ConfigError for a device
    that processes cannot share.
    """
    ranks = ranks_from_environment()
    if "WORLD_SIZE" not in os.environ:
        yield ranks
        return
    computes = accelerator()
    backend = computes.backend
    computes.select(ranks.local)
    group.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield ranks
    except RuntimeError as error:
        if not any(word in str(error) for word in LOST):
            raise
        raise PeerLostError(
            f"process {ranks.rank} of {ranks.world} lost the others: {str(error).splitlines()[0]}. The process that "
            "ended first reports the cause; the same command resumes from the last checkpoint"
        ) from error
    finally:
        group.destroy_process_group()


def ranks_from_environment() -> Ranks:
    """Ranks from RANK, WORLD_SIZE and LOCAL_RANK. Raises ConfigError when they contradict each other."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    ranks = Ranks(int(os.environ.get("RANK", "0")), world, int(os.environ.get("LOCAL_RANK", "0")))
    if not 0 <= ranks.rank < world:
        raise ConfigError(f"RANK is {ranks.rank}, WORLD_SIZE is {world}: start the run with --nproc or with torchrun")
    return ranks


def ranks() -> Ranks:
    """Ranks of this process in the process group; of a single process without one."""
    if not group.is_initialized():
        return Ranks()
    return Ranks(group.get_rank(), group.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def device() -> torch.device:
    """The device of this process: its own card, or the CPU."""
    return accelerator().device(ranks().local)


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum over all processes, in place."""
    if group.is_initialized():
        group.all_reduce(values)
    return values


def all_gather(values: Tensor) -> list[Tensor]:
    """The tensors of all processes in the order of ranks; they are on the CPU and have the same shape."""
    if not group.is_initialized():
        return [values]
    found = [torch.empty_like(values) for _ in range(group.get_world_size())]
    group.all_gather(found, values)
    return found


def barrier() -> None:
    """Wait until every process has reached this call."""
    if group.is_initialized():
        all_reduce_sum(torch.zeros(1))  # on the CPU, by gloo: NCCL's barrier needs a device


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Run the block on rank 0 first, then on all others, which find the files that rank 0 has written."""
    first = ranks().first
    if not first:
        barrier()
    yield
    if first:
        barrier()
