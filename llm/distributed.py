"""Several processes as one run: who this one is, and the few things they tell each other.

Without a process group every function does what one process alone needs: nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as group

from llm.errors import ConfigError, PeerLostError

PATIENCE = timedelta(hours=2)  # the first process reads a large data set while the others wait
LOST = ("onnection", "peer", "Gloo", "NCCL", "imed out")  # words of a collective whose other end is gone


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all: `rank` of `world`, the `local`th of its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Be one of the processes that torchrun's environment names; alone without it.

    Raises PeerLostError when another process goes away: a collective cannot be finished without it.
    """
    ranks = ranks_from_environment()
    if "WORLD_SIZE" not in os.environ:
        yield ranks
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    group.init_process_group(backend, timeout=PATIENCE)
    try:
        yield ranks
    except RuntimeError as error:
        if not any(word in str(error) for word in LOST):
            raise
        raise PeerLostError(
            f"process {ranks.rank} of {ranks.world} lost the others: {str(error).splitlines()[0]}. The one that ended "
            "first says why; the same command goes on from the last checkpoint"
        ) from error
    finally:
        group.destroy_process_group()


def ranks_from_environment() -> Ranks:
    """What RANK, WORLD_SIZE and LOCAL_RANK say. Raises ConfigError when they contradict each other."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    ranks = Ranks(int(os.environ.get("RANK", "0")), world, int(os.environ.get("LOCAL_RANK", "0")))
    if not 0 <= ranks.rank < world:
        raise ConfigError(f"RANK is {ranks.rank}, WORLD_SIZE {world}: start it with --nproc or with torchrun")
    return ranks


def ranks() -> Ranks:
    """This process, as `process_group` made it."""
    if not group.is_initialized():
        return Ranks()
    return Ranks(group.get_rank(), group.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def device() -> torch.device:
    """Where this process computes."""
    return torch.device("cuda", ranks().local) if torch.cuda.is_available() else torch.device("cpu")


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if group.is_initialized():
        group.all_reduce(values)
    return values


def all_gather(values: Tensor) -> list[Tensor]:
    """Every process's tensor, which must be of one shape, in the order of ranks; on the CPU."""
    if not group.is_initialized():
        return [values]
    found = [torch.empty_like(values) for _ in range(group.get_world_size())]
    group.all_gather(found, values)
    return found


def barrier() -> None:
    """Until all have come here."""
    if group.is_initialized():
        all_reduce_sum(torch.zeros(1))  # gloo's, on the CPU: NCCL's barrier would want a device


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Inside, the first process is alone; the others come in when it has left and find what it made."""
    first = ranks().first
    if not first:
        barrier()
    yield
    if first:
        barrier()
