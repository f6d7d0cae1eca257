"""A tiny policy and reference, and token ids of answers, that our losses and TRL's are compared on."""

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

Row = tuple[list[int], list[int]]  # ids of a prompt and of its completion
BETA, SMOOTHING = 0.4, 0.2
ANSWERS: list[tuple[Row, Row]] = [
    (([3, 9, 14, 7], [21, 5, 2]), ([3, 9, 14, 7], [8, 30, 11, 6, 2])),
    (([17, 4], [12, 2]), ([17, 4], [40, 41, 2])),
    (([25, 26, 27], [31, 32, 33, 34, 2]), ([25, 26, 27], [35, 2])),
]
LABELS = [True, False, True]  # of the chosen answers, as kto has them
MISMATCHED: list[Row] = [(row[0], ANSWERS[index - 1][0][1]) for index, (row, _) in enumerate(ANSWERS)]


def models() -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    """The policy and the reference."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = LlamaForCausalLM(config)
        torch.manual_seed(1)
        return policy.eval(), LlamaForCausalLM(config).eval()


def log_probs(model: LlamaForCausalLM, row: Row) -> Tensor:
    """[n]: of the completion's tokens, by plain transformers on this sequence alone."""
    prompt, answer = row
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
    return torch.stack([logits[len(prompt) - 1 + at, token] for at, token in enumerate(answer)])
