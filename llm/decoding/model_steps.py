"""The two calls of a model that decoding is made of: a piece of one prompt, and a token for each row of a batch."""

import inspect
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from llm.decoding.slot_cache import SlotCache

Run = Callable[..., CausalLMOutputWithPast]


class PromptReader:
    """Reads a prompt of `length` tokens in pieces into a cache, after what it holds. Embeddings may come in parts."""

    def __init__(self, model: PreTrainedModel, cache: DynamicCache, length: int) -> None:
        self._run = cast(Run, model)
        self._keeps_some = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._embeds: Tensor | None = None  # [T, hidden] that are not read yet
        self.left = length  # tokens that are not read yet
        self.cache = cache

    def missing(self, tokens: int) -> bool:
        """Whether the next piece of so many tokens needs embeddings that were not given yet."""
        return self._given < min(tokens, self.left)

    def give(self, embeds: Tensor) -> None:
        """The embeddings [T, hidden] of the next tokens."""
        self._embeds = embeds if self._embeds is None else torch.cat([self._embeds, embeds])

    @torch.no_grad()
    def read(self, tokens: int) -> Tensor | None:
        """Read the next `tokens`, or those that are left; the fp32 logits [vocabulary] after the prompt's last one."""
        assert self._embeds is not None and not self.missing(tokens)
        piece, self._embeds = self._embeds[None, :tokens], self._embeds[tokens:]
        self.left -= piece.shape[1]
        output = self._run(inputs_embeds=piece, past_key_values=self.cache, use_cache=True, **self._options(piece))
        if self.left:
            return None
        assert output.logits is not None
        return output.logits[0, -1].float()

    @property
    def _given(self) -> int:
        return 0 if self._embeds is None else len(self._embeds)

    def _options(self, piece: Tensor) -> dict[str, Tensor | int]:
        """Logits are computed of the prompt's last token alone: the head is the largest weight of small models."""
        if not self._keeps_some:
            return {}
        return {"logits_to_keep": torch.empty(0, dtype=torch.long, device=piece.device) if self.left else 1}


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
