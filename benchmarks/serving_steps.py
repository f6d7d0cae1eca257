"""`python -m benchmarks.serving_steps`: CPU seconds of decoding steps and of reading a prompt, on one thread.

A random Llama of the size of SmolLM2-135M. Steps of 1, 2, 4 and 8 answers by the products that were measured as fastest
and by plain ones (llm/decoding/few_rows.py), and a prompt of 1,024 tokens in pieces of several sizes
(llm/decoding/piece_size.py). CPU seconds of one thread are what other processes affect least. Medians of the rounds are
written to benchmarks/results/serving.json.
"""

import argparse
import statistics
import time
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from benchmarks.serving import write
from llm.decoding.few_rows import FewRows
from llm.decoding.model_steps import PromptReader, step_logits
from llm.decoding.slot_cache import SlotCache

VOCABULARY = 49_152
ANSWERS = (1, 2, 4, 8)
PROMPT = 64  # tokens before a step
READ = 1_024  # tokens of the prompt that is read in pieces
PIECES = (32, 64, 96, 128, 256, 512, READ)


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    torch.set_num_threads(1)
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
    model: Any = LlamaForCausalLM(config).eval()
    few_rows = FewRows(model)
    steps: dict[int, list[list[float]]] = {count: [] for count in ANSWERS}
    pieces: dict[int, list[float]] = {count: [] for count in PIECES}
    for _ in range(given.rounds):
        for count in ANSWERS:
            steps[count].append(step_seconds(model, few_rows, count))
        for size in PIECES:
            pieces[size].append(reading_seconds(model, size))
    medians = {n: [statistics.median(ways) for ways in zip(*some, strict=True)] for n, some in steps.items()}
    alone = medians[1][1]
    lines = [{"answers": n, "seconds": own, "plain seconds": plain, "times": n * alone / own,
              "plain times": n * alone / plain} for n, (own, plain) in medians.items()]  # fmt: skip
    read = {str(size): statistics.median(seconds) for size, seconds in pieces.items()}
    for line in lines:
        print(line)
    print(f"CPU seconds for {READ:,} tokens by the size of pieces: {read}")
    write("steps fp32", {"threads": 1, "rounds": given.rounds, "steps": lines, f"{READ} tokens in pieces": read})


def step_seconds(model: Any, few_rows: FewRows, answers: int) -> list[float]:
    """CPU seconds of a step by the fastest products, and by plain ones: the least of four each."""
    cache = SlotCache(model.config.num_hidden_layers)
    for number in range(answers):
        reader = PromptReader(model, DynamicCache(config=model.config), PROMPT + number)
        reader.give(random_embeds(model, PROMPT + number))
        reader.read(PROMPT + number)
        cache.join(reader.cache)
    found = []
    for way in (few_rows.applied(), nullcontext()):
        with way:
            found.append(min(one_step(model, cache, answers) for _ in range(4)))
    return found


def one_step(model: Any, cache: SlotCache, answers: int) -> float:
    """CPU seconds of a token for each answer."""
    began = time.process_time()
    step_logits(model, cache, [5] * answers)
    return time.process_time() - began


def reading_seconds(model: Any, piece: int) -> float:
    """CPU seconds of reading a prompt in pieces."""
    reader = PromptReader(model, DynamicCache(config=model.config), READ)
    reader.give(random_embeds(model, READ))
    began = time.process_time()
    while reader.read(piece) is None:
        pass
    return time.process_time() - began


@torch.no_grad()
def random_embeds(model: Any, tokens: int) -> Tensor:
    """[tokens, hidden]."""
    embeds: Tensor = model.get_input_embeddings()(torch.randint(VOCABULARY, (tokens,)))
    return embeds


if __name__ == "__main__":
    main()
