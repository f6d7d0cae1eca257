"""Whether a model's answers may be decoded together: its cache is looked at, and a small batch is tried."""

import inspect
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from llm.decoding.model_steps import PromptReader, step_logits
from llm.decoding.slot_cache import SlotCache

LENGTHS = (5, 9)  # tokens of the two prompts that are tried
PIECE = 4  # tokens of a prompt that are read at once
NEW = (3, 7)  # tokens that follow each
# The greatest difference of two logits, in standard deviations of the logits: rounding stays far below, a wrong
# position or a column of another row does not.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
HALF_TOLERANCE = 0.25


def why_alone(model: PreTrainedModel) -> str:
    """Why the model cannot decode rows of unequal length together; empty if it can. Call it inside `answering`.

    What the model raises over the batch is raised.
    """
    layers = DynamicCache(config=model.config).layers
    others = sorted({type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer})
    if others:
        return f"its cache has layers of {', '.join(others)}"
    if not layers:
        return "its cache has no layers"
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return "it takes no positions"
    difference, allowed = _difference(model)
    return "" if difference <= allowed else f"two prompts together give other logits than one by one ({difference:.2g})"


@torch.no_grad()
def _difference(model: PreTrainedModel) -> tuple[float, float]:
    """The greatest difference between a batch and its rows alone, and the greatest that is allowed."""
    embed = model.get_input_embeddings()
    vocabulary, device = len(next(embed.parameters())), next(embed.parameters()).device
    prompts = [torch.arange(3, 3 + 7 * length, 7, device=device) % vocabulary for length in LENGTHS]
    embeds = [embed(prompt) for prompt in prompts]
    expected = [_alone(model, prompt) for prompt in embeds]  # [steps, vocabulary] for each
    found = _together(model, embeds)
    pairs = [(ours, row[: len(ours)]) for ours, row in zip(found, expected, strict=True)]
    difference = max(float((ours - row).abs().max() / row.std()) for ours, row in pairs)
    return difference, TOLERANCE.get(embeds[0].dtype, HALF_TOLERANCE)


def _alone(model: PreTrainedModel, embeds: Tensor) -> Tensor:
    """The logits of the prompt's last token and of each new one, by the model's own cache, masks and positions."""
    run = cast(Callable[..., CausalLMOutputWithPast], model)
    output = run(inputs_embeds=embeds[None], use_cache=True)
    logits = [output.logits]
    for token in NEW:
        ids = torch.tensor([[token]], device=embeds.device)
        output = run(input_ids=ids, past_key_values=output.past_key_values, use_cache=True)
        logits.append(output.logits)
    return torch.stack([cast(Tensor, one)[0, -1].float() for one in logits])


def _together(model: PreTrainedModel, prompts: list[Tensor]) -> list[Tensor]:
    """The same logits: both rows take a step, then the first leaves and the second takes another."""
    cache = SlotCache(len(DynamicCache(config=model.config).layers))
    logits: list[list[Tensor]] = []
    for embeds in prompts:
        reader = PromptReader(model, DynamicCache(config=model.config), len(embeds))
        reader.give(embeds)
        first = None
        while first is None:
            first = reader.read(PIECE)
        cache.join(reader.cache)
        logits.append([first])
    for row, scores in enumerate(step_logits(model, cache, [NEW[0], NEW[0]])):
        logits[row].append(scores)
    cache.leave(0)
    logits[1].append(step_logits(model, cache, [NEW[1]])[0])
    return [torch.stack(row) for row in logits]
