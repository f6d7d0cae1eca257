"""`python -m benchmarks.serving`: answers decoded together, against transformers' `generate` and against one client.

A random Llama of the size of SmolLM2-135M. Each round measures in turn: `generate` alone, one client, `--clients` at
once, and a short question asked during a long answer. Printed: medians of the rounds, and the load of the machine.
"""

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from llm.chat.answer_row import AnswerRequest
from llm.chat.decode_loop import DecodeLoop
from llm.chat.sampling import Sampling
from llm.decoding.device_thread import DeviceThread
from llm.decoding.prefix_cache import PrefixCache
from llm.formats.conversation import ImageRef
from llm.model.precision import DTYPES

VOCABULARY = 49_152


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
        self.loop = DecodeLoop(self.model, nullcontext, DeviceThread(), PrefixCache(self.model, 0))
        self.tokens, self.prompt = tokens, prompt

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

    def asked(self, clock: Clock, tokens: int, prompt: int) -> Clock:
        """The same for a client that exists already."""
        ids = torch.randint(VOCABULARY, (prompt,)).tolist()

        def embed(some: list[int], _: tuple[ImageRef, ...]) -> Tensor:
            embeds: Tensor = self.model.get_input_embeddings()(torch.tensor(some))
            return embeds

        self.loop.answer(AnswerRequest(ids, (), embed, Sampling(max_new_tokens=tokens), (), clock, clock.left))
        return clock

    def clients(self, count: int) -> float:
        """Tokens per second of all clients that ask at once."""
        began = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            clocks = list(pool.map(lambda _: self.ask(self.tokens, self.prompt), range(count)))
        assert all(len(clock.times) == self.tokens for clock in clocks)
        return count * self.tokens / (time.perf_counter() - began)

    def behind(self) -> float:
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


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("--dtype", choices=[*DTYPES], default="fp32")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--tokens", type=int, default=24)
    options.add_argument("--prompt", type=int, default=64)
    options.add_argument("--clients", type=int, default=4)
    given = options.parse_args()
    bench = Bench(DTYPES[given.dtype], given.tokens, given.prompt)
    ways: dict[str, Callable[[], float]] = {
        "generate, tokens/s": bench.generate,
        "one client, tokens/s": lambda: bench.clients(1),
        f"{given.clients} clients, tokens/s": lambda: bench.clients(given.clients),
        "short question behind a long answer, seconds more": bench.behind,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    bench.ask(2, 8)  # the check of the model, and the first use of everything
    for number in range(given.rounds):
        for name, measure in ways.items():
            found[name].append(measure())
        print(f"round {number + 1}: load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads", flush=True)
    for name, values in found.items():
        print(f"{name}: median {statistics.median(values):.2f} of {', '.join(f'{one:.2f}' for one in values)}")
    single, several = (statistics.median(found[name]) for name in list(ways)[1:3])
    print(f"{given.clients} clients against one: {several / single:.2f} times")


if __name__ == "__main__":
    main()
