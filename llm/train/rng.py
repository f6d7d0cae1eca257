"""Random number generators of a run: each process has its own, and a checkpoint holds the states of all."""

from typing import Any

import torch
from torch import Tensor

from llm import distributed
from llm.devices import CPU, accelerator


def seed_process(seed: int, step: int = 0) -> None:
    """Seed this process; the first draws the numbers of a run in one process, each other one its own."""
    rank = distributed.ranks().rank
    torch.manual_seed(seed if rank == step == 0 else seed * 1_000_003 + step * 65_537 + rank)


def rng_states() -> dict[str, Any]:
    """The generator states of all processes, in the order of ranks. A collective."""
    states: dict[str, Any] = {"cpu": distributed.all_gather(torch.get_rng_state())}
    computes = accelerator()
    own = computes.rng_state()
    if own is not None:
        states[computes.kind] = distributed.all_gather(own)
    return states


def restore_rng_states(states: dict[str, Any], seed: int, step: int) -> bool:
    """Restore this process's generators. With another number of processes they are seeded anew; returns False then."""
    # Old checkpoints of runs in one process hold one tensor.
    saved: dict[str, list[Tensor]] = {kind: [of] if isinstance(of, Tensor) else of for kind, of in states.items()}
    ranks = distributed.ranks()
    if len(saved["cpu"]) != ranks.world:
        seed_process(seed, step)
        return False
    torch.set_rng_state(saved["cpu"][ranks.rank])
    computes = accelerator()
    if computes.kind != CPU and computes.kind in saved:
        computes.set_rng_state(saved[computes.kind][ranks.rank])
    return True
