"""Log probabilities that a model gives to the tokens of a text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutputWithPast

NEVER = -9999.0  # OpenAI's log probability of what a model never says; JSON has no infinity
CHUNK = 256  # tokens whose logits are held at once: [CHUNK, vocabulary]


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token's log probability after the tokens before it, and the likeliest tokens there with theirs.

    The first token of a text has none of either.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@torch.no_grad()
def token_scores(model: "PreTrainedModel", ids: list[int], embeds: Tensor, top: int) -> list[TokenScore]:
    """The score of each token of a text of T tokens with embeddings [T, hidden], and the `top` likeliest at its place.

    The model is called on pieces of the text with its cache, in fp32 after the logits. Call it inside `answering`.
    """
    run = cast("Callable[..., CausalLMOutputWithPast]", model)
    scores, cache = [TokenScore(ids[0])], None
    for start in range(0, len(ids) - 1, CHUNK):
        output = run(inputs_embeds=embeds[None, start : start + CHUNK], past_key_values=cache, use_cache=True)
        assert output.logits is not None
        cache = output.past_key_values
        targets = ids[start + 1 : start + CHUNK + 1]
        logprobs = output.logits[0, : len(targets)].float().log_softmax(-1).clamp(min=NEVER)  # [targets, vocabulary]
        scores += _scores(logprobs, targets, top)
    return scores


def _scores(logprobs: Tensor, targets: list[int], top: int) -> list[TokenScore]:
    own = logprobs.gather(1, torch.tensor(targets, device=logprobs.device)[:, None])[:, 0].tolist()
    values, likeliest = logprobs.topk(top)  # [targets, top]
    pairs = zip(likeliest.tolist(), values.tolist(), strict=True)
    tops = [tuple(zip(some, best, strict=True)) for some, best in pairs]
    return [TokenScore(*one) for one in zip(targets, own, tops, strict=True)]
