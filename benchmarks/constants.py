"""Measure the constants of llm/machine_constants.py again: `python -m benchmarks.constants [NAME ...]`, some minutes.

Prints each value in use, the best value on this machine, and the figures it is chosen by, and writes them to
benchmarks/results/constants.json. Constants that need a GPU, a new process or a complete run are listed with
their command. All seconds are CPU time on one thread, which other processes affect least. Shapes are those of
SmolLM2-135M: 9 heads and 3 key-value heads of 64, hidden size 576, a vocabulary of 49,152.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.machine import machine
from llm.attention import gather_index, padded_groups
from llm.attention.layout import Span, plan_attention
from llm.attention.padded_groups import PaddedAttention
from llm.forward import chunked_loss
from llm.forward.chunked_loss import HeadLoss
from llm.machine_constants import machine_constants
from vlm.vision.towers import load_tower

RESULTS = Path("benchmarks/results/constants.json")
LITE0 = Path("assets/lite0")
HEADS, SHARED, WIDTH, HIDDEN, VOCABULARY = 9, 3, 64, 576, 49_152
Figures = dict[str, float]  # seconds or a ratio, by the value tried
Found = tuple[float, Figures]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.constants")
    parser.add_argument("names", nargs="*", help="constants; empty: all")
    names = parser.parse_args().names
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found = {name: record(name, names) for name, _ in machine_constants()}
    RESULTS.write_text(
        json.dumps({"machine": machine(), "day": str(date.today()), "constants": found}, indent=1) + "\n"
    )


def record(name: str, names: list[str]) -> dict[str, Any]:
    """Measure and print one constant; returns its provenance with the value found."""
    constant = dict(machine_constants())[name]
    entry: dict[str, Any] = asdict(constant)
    if name not in MEASURED or (names and name not in names):
        print(f"{name}: {constant.value:g} {constant.unit} in use; not measured here: {constant.again}", flush=True)
        return entry
    value, figures = MEASURED[name](name)
    print(f"{name}: {constant.value:g} {constant.unit} in use, {value:g} found; {figures}", flush=True)
    return entry | {"found": value, "figures": figures}


def fastest(seconds: dict[float, float]) -> Found:
    """The value with the shortest time, and all times."""
    return min(seconds, key=lambda value: seconds[value]), {f"{value:g}": took for value, took in seconds.items()}


def best_seconds(work: Callable[[], object], times: int, within: float) -> float:
    """CPU seconds of one call: the shortest of rounds of `times` calls, at least three and for `within` seconds."""
    found: list[float] = []
    until = time.process_time() + within
    while len(found) < 3 or time.process_time() < until:
        began = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - began) / times)
    return min(found)


@contextmanager
def replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    """A context in which a module's constant has another value."""
    before = vars(module)[name]
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


# Attention -----------------------------------------------------------------------------------------------------------


def attention_seconds(lengths: list[int], dtype: torch.dtype = torch.bfloat16) -> float:
    """Forward and backward of padded attention over spans of these lengths."""
    starts = [0, *accumulate(lengths)]
    plan = plan_attention([Span(*span) for span in zip(starts, lengths, strict=False)], starts[-1])
    states = [torch.randn(starts[-1], heads, WIDTH).to(dtype).requires_grad_() for heads in (HEADS, SHARED, SHARED)]

    def step() -> None:
        attended: Tensor = PaddedAttention.apply(*states, plan, WIDTH**-0.5, scaled_dot_product_attention, False)
        torch.autograd.backward(attended, torch.ones_like(attended))

    return best_seconds(step, 1, 0.4)


def group_pairs(_: str) -> Found:
    """Seconds of a nearly empty group divided by seconds per (query, key) pair of a large group."""
    group, one, two = attention_seconds([2]), attention_seconds([256] * 2), attention_seconds([256] * 4)
    pair = (two - one) / (2 * 256 * 256)
    return round(group / pair), {"a group, s": group, "a pair, s": pair}


def block_queries(_: str) -> Found:
    """A pack of spans of 60 to 700 tokens in blocks of several sizes."""
    seconds = {}
    for size in (64, 96, 128, 192, 256):
        with replaced(gather_index, "BLOCK", size):
            seconds[float(size)] = attention_seconds([700, 500, 300, 200, 128, 60])
    return fastest(seconds)


def softmax_seconds(keys: int) -> float:
    """Softmax of attention scores of 600 queries and 9 heads."""
    scores = torch.randn(HEADS * 600, keys).to(torch.bfloat16)
    return best_seconds(lambda: torch.softmax(scores, -1), 5, 0.2)


def vector_bytes(_: str) -> Found:
    """The smallest vector width whose multiples are as fast as 64 keys, in seconds per key."""
    seconds = {keys: softmax_seconds(keys) / keys for keys in (59, 72, 80, 64)}
    best = seconds[64]
    found = 2 * next(vector for vector, keys in ((8, 72), (16, 80), (32, 64)) if seconds[keys] < 1.15 * best)
    return found, {f"{keys} keys, s a key": took for keys, took in seconds.items()}


def fill_ratio(_: str) -> Found:
    """The largest of several ratios at which filling up to 128 keys still made attention faster."""
    seconds = {keys: attention_seconds([keys] * 6) for keys in (98, 104, 110, 116, 122)}
    with replaced(gather_index, "SOFTMAX_FILL", Unbounded()):
        filled = {keys: attention_seconds([keys] * 6) for keys in seconds}
    gains = [128 / keys for keys in seconds if filled[keys] < seconds[keys]]
    figures = {f"{keys} keys, filled / not": filled[keys] / seconds[keys] for keys in seconds}
    return round(max(gains, default=1.0), 2), figures


class Unbounded:
    """Replaces the largest ratio by infinity."""

    value = float("inf")


def plain_keys(_: str) -> Found:
    """The longest of several spans at which plain products were no slower than SDPA."""
    figures, found = {}, 0
    for keys in (512, 768, 1024, 1536):
        with replaced(padded_groups, "SHORT", keys):
            plain = attention_seconds([keys] * 2)
        with replaced(padded_groups, "SHORT", 0):
            figures[f"{keys} keys, plain / SDPA"] = plain / attention_seconds([keys] * 2)
        found = keys if figures[f"{keys} keys, plain / SDPA"] <= 1 else found
    return found, figures


# The loss and towers -------------------------------------------------------------------------------------------------


def loss_seconds() -> float:
    """Loss and gradient of 768 hidden states."""
    head = nn.Linear(HIDDEN, VOCABULARY, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    hidden = torch.randn(768, HIDDEN).to(torch.bfloat16).requires_grad_()
    targets = torch.randint(VOCABULARY, (768,))
    return best_seconds(lambda: HeadLoss()(hidden, head, targets), 1, 2.0)


def logits_bytes(name: str) -> Found:
    """The chunked loss with chunks of several sizes."""
    table, mib = ("CHUNK", (6, 12, 24, 48, 96)) if name == "LOGITS_CHUNK_CPU" else ("WIDE", (3, 6, 12, 24, 48))
    seconds = {}
    for size in mib:
        with replaced(chunked_loss, table, vars(chunked_loss)[table] | {"cpu": size * 2**20}):
            seconds[float(size * 2**20)] = loss_seconds()
    return fastest(seconds)


def product_rows(tried: tuple[int, ...], inputs: int, outputs: int) -> Found:
    """The fewest rows of a product with at most 10 % more seconds per row than the best."""
    weight = torch.randn(outputs, inputs).to(torch.bfloat16)
    seconds = {}
    for rows in tried:
        x = torch.randn(rows, inputs).to(torch.bfloat16)
        seconds[rows] = best_seconds(partial(torch.mm, x, weight.t()), 1, 0.4) / rows
    best = min(seconds.values())
    found = next(rows for rows in tried if seconds[rows] <= 1.1 * best)
    return found, {f"{rows} rows, s a row": took for rows, took in seconds.items()}


def chunk_rows(_: str) -> Found:
    """Rows of the head's product."""
    return product_rows((16, 32, 64, 128, 256), HIDDEN, VOCABULARY)


def tower_positions(_: str) -> Found:
    """Rows of a feed-forward product of a ViT of 22 M parameters."""
    return product_rows((50, 100, 200, 400, 512, 800), 384, 1536)


@torch.no_grad()
def cnn_images(_: str) -> Found:
    """Eight images in calls of several sizes through EfficientNet-Lite0."""
    tower = load_tower(str(LITE0), -2, 224, "resize", 1, torch.float32)
    pixels = torch.rand(8, 3, 224, 224).contiguous(memory_format=torch.channels_last)

    def call(size: int) -> None:
        for part in pixels.split(size):
            tower.features(part)

    return fastest({float(size): best_seconds(partial(call, size), 1, 1.0) for size in (1, 2, 4, 8)})


MEASURED: dict[str, Callable[[str], Found]] = {
    "ATTENTION_GROUP_PAIRS": group_pairs,
    "ATTENTION_BLOCK": block_queries,
    "SOFTMAX_VECTOR_BYTES": vector_bytes,
    "SOFTMAX_FILL": fill_ratio,
    "PLAIN_ATTENTION_KEYS": plain_keys,
    "LOGITS_CHUNK_CPU": logits_bytes,
    "FP32_LOGITS_CPU": logits_bytes,
    "LOGITS_CHUNK_ROWS": chunk_rows,
    "TOWER_CALL_POSITIONS": tower_positions,
} | ({"CNN_CALL_IMAGES": cnn_images} if LITE0.exists() else {})


if __name__ == "__main__":
    main()
