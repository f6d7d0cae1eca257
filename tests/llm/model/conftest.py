"""A loaded tiny Llama, and random draws that are the same in every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from llm.model.pretrained import load_llm


@pytest.fixture
def llm(tiny_llama: Path) -> PreTrainedModel:
    return load_llm(str(tiny_llama), torch.float32)


@pytest.fixture
def same_draws() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
