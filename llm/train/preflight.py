"""Checks before the first step: forward and backward on the largest pack, and which parameters get gradients."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from llm import distributed
from llm.data.corpus import Corpus
from llm.data.loader import Loader
from llm.errors import DataError, ModelError
from llm.train.optimizer import ParamGroup
from llm.train.run_parts import BatchT


def preflight(
    model: nn.Module,
    groups: list[ParamGroup],
    loader: Loader[BatchT],
    must_move: tuple[str, ...],
    corpus: Corpus,
) -> None:
    """Fail now rather than in hour nine, and before optimizer memory is allocated. Changes no weights or RNG states.

    Raises DataError naming a record without targets, ModelError when the parameters that train are not those of
    `groups`, when the loss of the largest pack is not finite, or when a group in `must_move` gets no gradient.
    """
    _refuse_without_targets(corpus)
    _refuse_other_parameters(model, groups)
    for largest in probed_packs(loader):
        pack, batch = loader.batch(largest)
        with torch.random.fork_rng():
            loss = model(batch)
            if not torch.isfinite(loss):
                names = ", ".join(corpus.places[index] for index in pack)
                raise ModelError(
                    f"the first loss is {float(loss)} on the largest pack ({names}). Look at these records"
                )
            loss.backward()
    norms = {group.name: _norm(group.parameters) for group in groups}
    for group in groups:
        for parameter in group.parameters:
            parameter.grad = None
    for name in must_move:
        if not norms.get(name, 0.0) > 0:
            raise ModelError(
                f"the {name}'s gradient is zero on the largest pack: nothing would be learned. "
                "Do the records hold images, and do answers follow them?"
            )


def _refuse_without_targets(corpus: Corpus) -> None:
    empty = np.flatnonzero(np.asarray(corpus.targets) == 0)
    if len(empty):
        raise DataError(
            f"{corpus.places[int(empty[0])]}: no supervised token; its loss would be zero. Fix or remove it"
        )


def _refuse_other_parameters(model: nn.Module, groups: list[ParamGroup]) -> None:
    intended = {id(parameter) for group in groups for parameter in group.parameters}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    training = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    wrong = sorted(names[key] for key in intended ^ training if key in names)
    if wrong:
        raise ModelError(f"parameters that train and parameters that should train differ: {', '.join(wrong[:5])}")


def probed_packs(loader: Loader[BatchT]) -> list[tuple[int, ...]]:
    """The largest pack and, where it has no images, the largest with images: only there a projector gets a gradient."""
    found, counts = largest_pack(loader), loader.corpus.image_counts
    if counts[list(found)].any() or not counts.any():
        return [found]
    return [found, largest_pack(loader, counts > 0)]


def largest_pack(loader: Loader[BatchT], among: NDArray[np.bool_] | None = None) -> tuple[int, ...]:
    """The pack of the first epoch with the most tokens; with `among`, a mask of records, of packs that hold one."""
    lengths = loader.corpus.lengths
    packs = [pack for step in loader.schedule.plans[0].steps for pack in step]
    sizes = [int(lengths[pack].sum()) * bool(among is None or among[pack].any()) for pack in packs]
    return tuple(map(int, packs[int(np.argmax(sizes))]))


def _norm(parameters: list[nn.Parameter]) -> float:
    """Norm over the gradients of all processes: one whose part of a shared pack has no target has none."""
    squares = [parameter.grad.float().square().sum() for parameter in parameters if parameter.grad is not None]
    total = float(distributed.all_reduce_sum(torch.stack(squares).sum() if squares else torch.zeros(())))
    return math.sqrt(total)
