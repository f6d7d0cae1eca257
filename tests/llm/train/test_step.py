"""Steps of a text run, however it is packed, against the same steps computed independently in plain torch."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM

from llm.config.schema import TextRunConfig
from tests.by_hand import FACTORS, OPTIM, Adam, Record, Step, Turns, assert_equal_steps, chatml, mean_loss
from vlm.model.runs import train

SYSTEM = "The quick dog says where the fox is."  # a prefix that folding shares
TALKS: tuple[Turns, ...] = (
    (("Who are you?", "the fox"),),
    (("What is it?", "a quick quick quick fox"), ("Where is the dog?", "the dog is there"), ("Is it so?", "so")),
    (("Who are you?", "I"),),
    (("And the picture?", "the cat runs, the dog runs, the fox runs and the quick cat is the last"),),
    (("What is it?", "a dog"), ("Is it so?", "it is")),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The talks as a file: all of them make one step."""
    file = tmp_path_factory.mktemp("step") / "chat.jsonl"
    lines = []
    for turns in TALKS:
        said = [("user", "assistant")[index % 2] for index in range(2 * len(turns))]
        words = [text for turn in turns for text in turn]
        messages = [{"role": role, "content": text} for role, text in zip(said, words, strict=True)]
        lines.append(json.dumps({"messages": [{"role": "system", "content": SYSTEM}, *messages]}))
    file.write_text("\n".join(lines))
    return file


@pytest.fixture(scope="module")
def expected(tiny_llama: Path) -> list[Step]:
    """Four steps over all talks, computed independently."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32, attn_implementation="eager")
    talks = [chatml(tokenizer, turns, SYSTEM) for turns in TALKS]

    def logits(row: Record) -> Tensor:
        return model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0]

    adam = Adam(dict(model.named_parameters()))
    steps: list[Step] = []
    for factor in FACTORS:
        loss = mean_loss(logits, talks)
        loss.backward()
        norm = adam.move(factor)
        steps.append((loss.item(), norm, {name: weight.detach().clone() for name, weight in adam.weights.items()}))
    return steps


WAYS: dict[str, dict[str, Any]] = {
    "one-pack": {"pack_tokens": 4096, "fold": "off"},
    "many-packs": {"pack_tokens": 100, "fold": "off"},
    "folded": {"pack_tokens": 4096},
    "folded-in-packs": {"pack_tokens": 130},
    "transformers-layers": {"pack_tokens": 150, "lean": "off"},
}


@pytest.mark.parametrize("way", WAYS)
def test_losses_gradients_and_updates_are_those_computed_independently(
    way: str, tiny_llama: Path, rows: Path, expected: list[Step], tmp_path: Path
) -> None:
    config = TextRunConfig.model_validate(
        {
            "name": "step",
            "out": str(tmp_path / "run"),
            "model": {"llm": str(tiny_llama)},
            "data": {"sources": [{"path": str(rows)}], "max_length": 200, "template": "chatml"},
            "tune": {"kind": "full"},
            "optim": OPTIM,
            "train": {"epochs": len(FACTORS), "batch": len(TALKS), "dtype": "fp32", "save_every": 1, "log_every": 1}
            | {"keep": len(FACTORS)}
            | WAYS[way],
        }
    )
    assert_equal_steps(train(config, Path.cwd()), expected)
