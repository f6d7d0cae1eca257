"""Log-probabilities after prompts in packs are those of transformers' plain forward pass, one prompt at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from llm.chat.chat_model import ChatModel
from llm.chat.next_token import NextToken, Prompt, pack_by_prefix
from llm.chat.prompt_embedding import text_embedder
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.model.pretrained import load_tokenizer

LETTERS = (5, 6, 7, 8)


@pytest.fixture(scope="module")
def chat(uneven_llama: PreTrainedModel, tiny_llama: Path) -> ChatModel:
    return chat_of(uneven_llama, tiny_llama)


def chat_of(model: PreTrainedModel, folder: Path) -> ChatModel:
    tokenizer = load_tokenizer(str(folder))
    encoder = Encoder(tokenizer, load_template("chatml", tokenizer))
    return ChatModel(model, model, encoder, text_embedder(model.get_input_embeddings()))


def prompts_with_shots(count: int) -> list[Prompt]:
    """Two subjects with shots of their own; questions in turn, some equal, of different lengths."""
    draw = np.random.default_rng(0)
    shots = [draw.integers(10, 100, length).tolist() for length in (37, 23)]
    questions = [draw.integers(10, 100, 3 + number % 9).tolist() for number in range(count)]
    return [([*shots[number % 2], *question], ()) for number, question in enumerate([*questions[:-1], questions[-3]])]


def one_by_one(model: Any, prompts: list[Prompt]) -> NDArray[np.float32]:
    """The reference: each prompt in a forward pass of its own, by transformers alone."""
    with torch.no_grad():
        logits: list[Tensor] = [model(input_ids=torch.tensor([ids])).logits[0, -1] for ids, _ in prompts]
    return torch.stack(logits).log_softmax(-1)[:, list(LETTERS)].numpy()


def in_order(reader: NextToken, prompts: list[Prompt]) -> NDArray[np.float32]:
    found = np.full((len(prompts), len(LETTERS)), np.nan, np.float32)
    for numbers, scores in reader.logprobs(prompts, LETTERS):
        assert np.isnan(found[numbers]).all(), "each prompt is read once"
        found[numbers] = scores
    return found


def test_packs_equal_prompts_alone(chat: ChatModel) -> None:
    prompts = prompts_with_shots(40)
    reader = NextToken(chat)
    assert reader.why_one_by_one == ""
    np.testing.assert_allclose(in_order(reader, prompts), one_by_one(chat.model, prompts), atol=2e-5)
    assert chat.model.config._attn_implementation == "sdpa", "the model attends as before"


def test_a_model_with_a_sliding_window_reads_prompts_alone(tiny_llama: Path) -> None:
    """A window is shorter than its prompts: a pack without it would give other values."""
    config = MistralConfig(
        vocab_size=384, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=6, max_position_embeddings=256,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MistralForCausalLM(config).eval()
    prompts = prompts_with_shots(4)
    reader = NextToken(chat_of(model, tiny_llama))
    assert "sliding" in reader.why_one_by_one.lower()
    np.testing.assert_allclose(in_order(reader, prompts), one_by_one(model, prompts), atol=2e-5)


def test_a_model_that_packs_do_not_suit_is_found(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial sees positions that go on through a pack instead of continuing the prefix."""
    monkeypatch.setattr("llm.data.batch.positions_of", lambda sample: np.arange(len(sample.ids)))
    reader = NextToken(chat)
    assert "a pack gives other logits" in reader.why_one_by_one
    prompts = prompts_with_shots(4)
    np.testing.assert_allclose(in_order(reader, prompts), one_by_one(chat.model, prompts), atol=2e-5)


def test_packs_hold_prompts_of_one_prefix_and_few_rows() -> None:
    prompts = [np.array(ids, np.int64) for ids, _ in prompts_with_shots(60)]
    packs = [*pack_by_prefix(prompts, rows=120)]
    assert sorted(number for pack in packs for number in pack) == list(range(60))
    for pack in packs:
        distinct = {
            tuple(prompts[number][:end].tolist()) for number in pack for end in range(1, len(prompts[number]) + 1)
        }
        assert len(distinct) <= 4 * 37, "common rows count once; a pack may be four times its prefix"
    rows = sum(
        len({tuple(prompts[n][:end].tolist()) for n in pack for end in range(1, len(prompts[n]) + 1)}) for pack in packs
    )
    assert rows < 0.45 * sum(len(prompt) for prompt in prompts)
