"""`python -m benchmarks.serving`: answers decoded together, against transformers' `generate` and against one client.

A random Llama of the size of SmolLM2-135M. Each round measures in turn: `generate` alone, one client, `--clients` at
once, the same with plain products (llm/decoding/few_rows.py), a short question asked during a long answer, and the
longest time between two tokens of an answer while a long prompt arrives. Medians of the rounds and the machine's load
are printed and written to benchmarks/results/serving.json. On a busy machine `--steps` compares instead the CPU seconds
of decoding steps of 1, 2, 4 and 8 answers on one thread, in turn, which other processes affect least.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LlamaConfig, LlamaForCausalLM

from benchmarks.constants import replaced
from benchmarks.machine import machine
from llm.chat.answer_row import AnswerRequest
from llm.chat.decode_loop import DecodeLoop
from llm.chat.sampling import Sampling
from llm.decoding import few_rows
from llm.decoding.device_thread import DeviceThread
from llm.decoding.model_steps import PromptReader, step_logits
from llm.decoding.prefix_cache import PrefixCache
from llm.decoding.slot_cache import SlotCache
from llm.formats.conversation import ImageRef
from llm.model.precision import DTYPES

RESULTS = Path("benchmarks/results/serving.json")
VOCABULARY = 49_152
LONG_PROMPT = 2_000  # tokens
STEPS = (1, 2, 4, 8)  # answers


class Clock:
    """Notes when each token of an answer came."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.times: list[float] = []
        self.leaves = False

    def put(self, value: Tensor) -> None:
        """Called with the prompt, then with each token."""
        if value.dim() == 1:
            self.times.append(time.perf_counter() - self.began)

    def end(self) -> None:
        """Called by `generate` alone."""

    def left(self) -> bool:
        """Whether the client has left."""
        return self.leaves


class Bench:
    """A model, and the ways to ask it."""

    def __init__(self, dtype: torch.dtype, tokens: int, prompt: int) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
        )
        self.model: Any = LlamaForCausalLM(config).eval()
        self.model.to(dtype)
        self.loop, self.plain = self._loop(), self._loop()
        self.tokens, self.prompt = tokens, prompt
        self.ask(2, 8)  # the check of the model, its products, and the first use of everything
        with replaced(few_rows, "turned_rows", lambda _: frozenset()):
            self.asked(Clock(), 2, 8, self.plain)

    def _loop(self) -> DecodeLoop:
        return DecodeLoop(self.model, nullcontext, DeviceThread(), PrefixCache(self.model, 0))

    def generate(self) -> float:
        """Tokens per second of transformers' own loop."""
        ids = torch.randint(VOCABULARY, (1, self.prompt))
        settings = GenerationConfig(
            max_new_tokens=self.tokens, min_new_tokens=self.tokens, do_sample=False, pad_token_id=0
        )
        began = time.perf_counter()
        self.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        return self.tokens / (time.perf_counter() - began)

    def ask(self, tokens: int, prompt: int) -> Clock:
        """An answer by the loop."""
        return self.asked(Clock(), tokens, prompt)

    def asked(self, clock: Clock, tokens: int, prompt: int, loop: DecodeLoop | None = None) -> Clock:
        """The same for a client that exists already."""
        ids = torch.randint(VOCABULARY, (prompt,)).tolist()

        def embed(some: list[int], _: tuple[ImageRef, ...]) -> Tensor:
            embeds: Tensor = self.model.get_input_embeddings()(torch.tensor(some))
            return embeds

        (loop or self.loop).answer(
            AnswerRequest(ids, (), embed, Sampling(max_new_tokens=tokens), (), clock, clock.left)
        )
        return clock

    def clients(self, count: int, loop: DecodeLoop | None = None) -> float:
        """Tokens per second of all clients that ask at once."""
        began = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            clocks = list(pool.map(lambda _: self.asked(Clock(), self.tokens, self.prompt, loop), range(count)))
        assert all(len(clock.times) == self.tokens for clock in clocks)
        return count * self.tokens / (time.perf_counter() - began)

    def while_answering(self) -> float:
        """Seconds to the first token of a short question during a long answer, less those that it takes alone."""
        long = Clock()
        thread = threading.Thread(target=self.asked, args=(long, 4000, self.prompt))
        thread.start()
        while len(long.times) < 3:
            time.sleep(0.001)
        short = self.ask(1, 16)
        long.leaves = True
        thread.join()
        return short.times[0] - self.ask(1, 16).times[0]

    def steps(self, answers: int) -> list[float]:
        """CPU seconds of a step by the products that were measured as fastest, and by plain ones."""
        assert self.loop._few_rows is not None
        cache, embed = SlotCache(self.model.config.num_hidden_layers), self.model.get_input_embeddings()
        for number in range(answers):
            ids = torch.randint(VOCABULARY, (self.prompt + number,))
            reader = PromptReader(self.model, DynamicCache(config=self.model.config), len(ids))
            reader.give(embed(ids))
            reader.read(len(ids))
            cache.join(reader.cache)
        found = []
        for way in (self.loop._few_rows.applied(), nullcontext()):
            with way:
                found.append(min(self._step(cache, answers) for _ in range(4)))
        return found

    def _step(self, cache: SlotCache, answers: int) -> float:
        began = time.process_time()
        step_logits(self.model, cache, [5] * answers)
        return time.process_time() - began

    def gap(self) -> float:
        """The longest seconds between two tokens of an answer from when a long prompt arrives until it is read."""
        stream, arriving = Clock(), Clock()
        thread = threading.Thread(target=self.asked, args=(stream, 4000, self.prompt))
        thread.start()
        while len(stream.times) < 3:
            time.sleep(0.001)
        before = len(stream.times)
        self.asked(arriving, 1, LONG_PROMPT)
        stream.leaves = True
        thread.join()
        times = stream.times[before - 1 :]
        return max(later - earlier for earlier, later in pairwise(times))


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("--dtype", choices=[*DTYPES], default="fp32")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--tokens", type=int, default=24)
    options.add_argument("--prompt", type=int, default=64)
    options.add_argument("--steps", action="store_true")
    options.add_argument("--clients", type=int, default=4)
    given = options.parse_args()
    if given.steps:
        torch.set_num_threads(1)
    bench = Bench(DTYPES[given.dtype], given.tokens, given.prompt)
    if given.steps:
        compare_steps(bench, given.dtype, given.rounds)
        return
    one, several = "one client, tokens/s", f"{given.clients} clients, tokens/s"
    ways: dict[str, Callable[[], float]] = {
        "generate, tokens/s": bench.generate,
        one: lambda: bench.clients(1),
        several: lambda: bench.clients(given.clients),
        f"{several}, plain products": lambda: bench.clients(given.clients, bench.plain),
        "short question during a long answer, seconds more": bench.while_answering,
        f"longest gap between tokens while {LONG_PROMPT:,} tokens are read, seconds": bench.gap,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    loads: list[float] = []
    for number in range(given.rounds):
        for name, measure in ways.items():
            found[name].append(measure())
        loads.append(os.getloadavg()[0])
        print(f"round {number + 1}: load {loads[-1]:.1f}, {torch.get_num_threads()} threads", flush=True)
    ratios = {name: statistics.median(ratio_of(found[name], found[one])) for name in [*ways][:4] if name != one}
    for name, values in found.items():
        print(f"{name}: median {statistics.median(values):.2f} of {', '.join(f'{value:.2f}' for value in values)}")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} times that of one client, median of the rounds")
    entry: dict[str, object] = {
        "command": " ".join(["python -m benchmarks.serving", *sys.argv[1:]]),
        "day": str(date.today()),
    }
    entry |= {"dtype": given.dtype, "threads": torch.get_num_threads(), "loads": loads, "rounds": found}
    write(given.dtype, entry | {"against one client": ratios})


def compare_steps(bench: Bench, dtype: str, rounds: int) -> None:
    """Print and write medians of the rounds: CPU seconds a step, and tokens against one answer."""
    found: dict[int, list[list[float]]] = {count: [] for count in STEPS}
    for _ in range(rounds):
        for count, values in found.items():
            values.append(bench.steps(count))
    medians = {n: [statistics.median(ways) for ways in zip(*some, strict=True)] for n, some in found.items()}
    alone = medians[1][1]
    figures = [
        {
            "answers": n,
            "seconds": own,
            "plain seconds": plain,
            "times": n * alone / own,
            "plain times": n * alone / plain,
        }
        for n, (own, plain) in medians.items()
    ]
    for line in figures:
        print(line)
    entry: dict[str, object] = {
        "command": " ".join(["python -m benchmarks.serving", *sys.argv[1:]]),
        "day": str(date.today()),
    }
    write(f"steps {dtype}", entry | {"load": os.getloadavg()[0], "threads": 1, "steps": figures})


def ratio_of(values: list[float], base: list[float]) -> list[float]:
    """Round by round."""
    return [value / one for value, one in zip(values, base, strict=True)]


def write(name: str, entry: dict[str, object]) -> None:
    """Write the run of one dtype, beside those of others."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(results | {name: {"machine": machine(), **entry}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
