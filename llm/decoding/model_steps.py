"""The two calls of a model that decoding is made of: a piece of one prompt, and a token for each row of a batch."""

import inspect
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from llm.decoding.slot_cache import SlotCache

CHUNK = 256  # tokens of a prompt that are read at once: answers in progress wait for no more than these
Run = Callable[..., CausalLMOutputWithPast]


class PromptReader:
    """Reads a prompt in pieces of `piece` tokens, embedded [T, hidden], into a cache, after what it holds."""

    def __init__(self, model: PreTrainedModel, embeds: Tensor, cache: DynamicCache, piece: int = CHUNK) -> None:
        self._run = cast(Run, model)
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        self._embeds, self._piece = embeds, piece
        self._done = 0
        self.cache = cache

    @torch.no_grad()
    def read(self) -> Tensor | None:
        """Read a piece; the fp32 logits [vocabulary] of the first token after the last one."""
        piece = self._embeds[None, self._done : self._done + self._piece]
        output = self._run(inputs_embeds=piece, past_key_values=self.cache, use_cache=True, **self._options)
        self._done += self._piece
        if self._done < len(self._embeds):
            return None
        assert output.logits is not None
        return output.logits[0, -1].float()


@torch.no_grad()
def step_logits(model: PreTrainedModel, cache: SlotCache, tokens: list[int]) -> Tensor:
    """The fp32 logits [n, vocabulary] after one more token a row."""
    run = cast(Run, model)
    positions, mask = cache.begin_step()
    ids = torch.tensor(tokens, device=positions.device)[:, None]
    output = run(input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True)
    cache.end_step()
    assert output.logits is not None
    return output.logits[:, -1].float()
