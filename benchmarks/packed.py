"""How full the packs of `train.packing: fill` are, against lower bounds on the number of packs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.data.bin_packing import PackBudget, at_least, at_least_l2
from llm.data.packing import epoch_order, plan_packs


def fullness(tokens: NDArray[np.int64], budget: int) -> dict[str, Any]:
    """Plan an epoch of samples without shared prefixes, and rate it."""
    order, none = epoch_order(np.ones(len(tokens)), 0, 0), np.zeros(len(tokens), np.int64)
    plan = plan_packs(tokens, none, PackBudget(budget, 1), batch=128, order=order, mode="fill")
    return rated(tokens, budget, sum(map(len, plan.steps)))


def rated(tokens: NDArray[np.int64], budget: int, packs: int) -> dict[str, Any]:
    """`packs` against two lower bounds: ceil(total / budget) and Martello and Toth's L2."""
    least, tighter = at_least(tokens, budget), at_least_l2(tokens, budget)
    counts = {"samples": len(tokens), "budget": budget, "packs": packs, "at_least": least, "martello_toth": tighter}
    full = int(tokens.sum()) / (packs * budget)
    return counts | {"full": round(full, 4), "of_possible": round(tighter / packs, 4)}
