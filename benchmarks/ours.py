"""Eyegraft as a contender: `python -m benchmarks.ours SPEC READS WRITES`, one training run as a user starts it."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.gate import Gate
from llm.attention.varlen_kernels import Lengths
from llm.config.schema import Probe, RunConfig
from llm.config.yaml_loader import resolve_yaml
from llm.data.corpus import Corpus
from llm.train.metrics import read_metrics
from llm.train.process_memory import limit_kernel_caches
from llm.train.run import run_training
from llm.train.run_parts import RunParts
from vlm.config import SCHEMAS
from vlm.model.feature_cache import fill_cache
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun, open_model, parts_of
from vlm.ready.forward import ReadyModule
from vlm.ready.training import open_proved
from vlm.ready_config import ReadyRunConfig

FEED_FORWARD = re.compile(r"(?:^|\.)layers\.(\d+)\.mlp\.")


def main() -> None:
    """Train until the parent ends the process."""
    limit_kernel_caches()  # as the command does
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    config = run_config(spec)
    gate = Gate(int(sys.argv[2]), int(sys.argv[3]))
    opened = open_proved(config) if isinstance(config, ReadyRunConfig) else open_model(config)
    parts = with_filled_cache(opened, parts_of(opened)) if spec["prefilled"] else parts_of(opened)
    counts = StepCounts(opened.model)

    def collate(corpus: Corpus, indices: tuple[int, ...]) -> Any:
        counts.lengths |= {index: int(corpus.lengths[index]) for index in indices}
        return parts.collate(corpus, indices)

    turns = not spec["free"]

    def after_a_step(_: Probe) -> str:  # the loop answers its probe before the first step and after each step
        facts = counts.taken()
        if turns:
            gate.turn(**facts)
        return ""

    config = opened.config  # of a ready model without what its proof denies
    run = run_training(config, replace(parts, collate=collate, answer=after_a_step), resolve_yaml(config), Path())
    waited = [row["input_wait"] for row in read_metrics(run, "train")[1:]]
    gate.turn(input_wait=sum(waited) / len(waited))


def with_filled_cache(opened: OpenedRun, parts: RunParts[Any]) -> RunParts[Any]:
    """Parts that cache the features of all images before the first step, as after an earlier stage."""

    def ready(corpus: Corpus, folder: Path) -> str:
        line, model = parts.ready(corpus, folder), opened.model
        assert isinstance(model, VlmModel) and model.feature_cache is not None, "the run has no feature cache"
        assert fill_cache(model.feature_cache, model.vision, list(corpus.every_image())), "the cache is full"
        return line

    return replace(parts, ready=ready)


class StepCounts:
    """Counts the contents of a step's batches, and the operations that every trainer needs."""

    def __init__(self, model: nn.Module) -> None:
        self.lengths: dict[int, int] = {}
        self.samples = self.tokens = self.rows = self.targets = self.pairs = 0
        wrapper: Any = model
        llm = wrapper.llm if hasattr(wrapper, "llm") else wrapper.vision.hf
        head = llm.get_output_embeddings().weight.numel()
        language = llm if hasattr(wrapper, "llm") else wrapper.vision.language_model
        language = language.get_decoder() if isinstance(wrapper, ReadyModule) else language
        linears = {name: inner for name, inner in language.named_modules() if isinstance(inner, nn.Linear)}
        linears = {name: inner for name, inner in linears.items() if inner is not llm.get_output_embeddings()}
        ends = last_feed_forward(list(linears))
        self.flops_per_token = sum(linear_flops(inner) for name, inner in linears.items() if name not in ends)
        self.flops_per_target = 4 * head + sum(linear_flops(linears[name]) for name in ends)
        self.flops_per_pair = attention_flops(llm.config.get_text_config())
        model.register_forward_pre_hook(self._add)

    def _add(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        batch = getattr(inputs[0], "text", inputs[0])
        self.samples += len(batch.samples)
        self.tokens += sum(self.lengths[index] for index in batch.samples)
        self.rows += batch.tokens
        self.targets += len(batch.targets)
        self.pairs += attended_pairs(batch.attention.lengths)

    def taken(self) -> dict[str, float]:
        """Return the counts since the last call and reset them."""
        flops = (
            self.flops_per_token * self.rows + self.flops_per_target * self.targets + self.flops_per_pair * self.pairs
        )
        facts = {"samples": self.samples, "tokens": self.tokens, "rows": self.rows, "flops": flops}
        self.samples = self.tokens = self.rows = self.targets = self.pairs = 0
        return facts


def linear_flops(linear: nn.Linear) -> int:
    """FLOP per token: 2 per weight each in forward, input gradient and, if the weight trains, weight gradient."""
    return (6 if linear.weight.requires_grad else 4) * linear.weight.numel()


def attention_flops(config: Any) -> int:
    """FLOP per attended (query, key) pair in all layers: two products (score, value), each with two gradients, of
    2 FLOP per head dimension."""
    each = config.to_dict().get("head_dim") or config.hidden_size // config.num_attention_heads
    return 12 * int(each * config.num_attention_heads * config.num_hidden_layers)


def attended_pairs(lengths: Lengths) -> int:
    """Attended (query, key) pairs: each query attends to its span's earlier keys, to itself and to prefixes."""
    queries, keys = lengths.cu_queries.diff().long(), lengths.cu_keys.diff().long()
    return int((queries * (keys - queries) + queries * (queries + 1) // 2).sum())


def last_feed_forward(names: list[str]) -> set[str]:
    """The linears after the last attention, which only positions with a target need."""
    found = {name: int(match[1]) for name in names if (match := FEED_FORWARD.search(name))}
    return {name for name, number in found.items() if number == max(found.values())}


def run_config(spec: dict[str, Any]) -> RunConfig:
    """The work of a spec as a validated recipe."""
    schema = ReadyRunConfig if "vlm" in spec else SCHEMAS[spec["work"]["stage"]]
    config = schema.model_validate(recipe(spec))
    assert isinstance(config, RunConfig), "every work trains"
    return config


def recipe(spec: dict[str, Any]) -> dict[str, Any]:
    """The work of a spec as a recipe."""
    work = spec["work"]
    model: dict[str, Any] = {"vlm": spec["vlm"]} if "vlm" in spec else {"llm": spec["llm"]}
    tune: dict[str, Any] = {"kind": "lora", "rank": 16, "alpha": 32}
    if work["stage"] != "sft" and "vlm" not in spec:
        model |= {"tower": spec["tower"], "image_mode": "resize", "image_size": spec["image_size"]}
    if work["stage"] == "pretrain":
        tune = {"kind": "frozen"}
    train: dict[str, Any] = {
        "batch": work["batch"],
        "pack_tokens": spec["pack_tokens"],
        "order": "by_image",
        "dtype": spec["dtype"],
    }
    train |= {"log_every": 1, "save_every": 0, "sample_every": 1, "probes": [{"prompt": "end of turn"}]}
    return {
        "name": work["name"],
        "out": spec["out"],
        "stage": work["stage"],
        "model": model,
        "data": {
            "sources": [{"path": spec["data"], "images": spec["images"]}],
            "template": "auto" if "vlm" in spec else "chatml",
            "max_length": work["max_length"],
            **spec["options"],
        },
        "tune": tune,
        "optim": {"lr": 1e-4},
        "train": train | spec["train"],
    }


if __name__ == "__main__":
    main()
