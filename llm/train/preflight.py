"""Before step 1: one forward and backward on the largest pack, and a look at which gradients are there."""

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
    """Fail now rather than in hour nine, before there is an optimizer. Weights and random numbers stay as they were.

    Raises DataError naming a record without targets, ModelError when the wrong parameters train, when the largest
    pack's loss is not finite, or when a group that must learn gets no gradient.
    """
    _refuse_silent_records(corpus)
    _only_intended(model, groups)
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
                f"the {name}'s gradient is zero on the largest pack: nothing would be learnt. "
                "Do the records hold images, and do answers follow them?"
            )


def _refuse_silent_records(corpus: Corpus) -> None:
    silent = np.flatnonzero(np.asarray(corpus.targets) == 0)
    if len(silent):
        raise DataError(
            f"{corpus.places[int(silent[0])]}: no supervised token; its loss would be zero. Fix or remove it"
        )


def _only_intended(model: nn.Module, groups: list[ParamGroup]) -> None:
    intended = {id(parameter) for group in groups for parameter in group.parameters}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    training = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    wrong = sorted(names[key] for key in intended ^ training if key in names)
    if wrong:
        raise ModelError(f"parameters that train and parameters that should differ: {', '.join(wrong[:5])}")


def probed_packs(loader: Loader[BatchT]) -> list[tuple[int, ...]]:
    """The largest pack, and the largest with images where that has none: only there does a projector learn."""
    found, counts = largest_pack(loader), loader.corpus.image_counts
    if counts[list(found)].any() or not counts.any():
        return [found]
    return [found, largest_pack(loader, counts > 0)]


def largest_pack(loader: Loader[BatchT], among: NDArray[np.bool_] | None = None) -> tuple[int, ...]:
    """The pack with the most tokens of the first epoch; with `among`, of those that hold one of these records."""
    lengths = loader.corpus.lengths
    packs = [pack for step in loader.schedule.plans[0].steps for pack in step]
    sizes = [int(lengths[pack].sum()) * bool(among is None or among[pack].any()) for pack in packs]
    return tuple(map(int, packs[int(np.argmax(sizes))]))


def _norm(parameters: list[nn.Parameter]) -> float:
    """Of all processes' gradients: one whose rows of a shared pack lie behind all targets has none."""
    squares = [parameter.grad.float().square().sum() for parameter in parameters if parameter.grad is not None]
    total = float(distributed.all_reduce_sum(torch.stack(squares).sum() if squares else torch.zeros(())))
    return math.sqrt(total)
