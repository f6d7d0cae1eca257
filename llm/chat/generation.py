"""Generate token ids from prompts, batched for evaluation or streamed for chat, with the same sampling."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from llm.attention.interface import NAME, plain_attention
from llm.chat.sampling import LEAST_TEMPERATURE, Sampling
from llm.chat.token_stream import TokenSink
from llm.model.eval_mode import arguments_alone, eval_mode


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of T tokens: ids, with the image id for each token of an image, and embeddings [T, hidden]."""

    ids: list[int]
    embeds: Tensor


class _Stopped(StoppingCriteria):
    """Ends generation when `stopped` returns True."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: object) -> Tensor:
        return torch.full((input_ids.shape[0],), self._stopped(), device=input_ids.device)


@contextmanager
def answering(model: PreTrainedModel, text: PreTrainedModel) -> Iterator[None]:
    """Eval mode, attention without packing and a separate random state inside the block; all restored after it."""
    with eval_mode(model), torch.random.fork_rng(), plain_attention(text) if _packed(text) else nullcontext():
        yield


def _packed(text: PreTrainedModel) -> bool:
    return bool(text.config._attn_implementation == NAME)


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: list[Prompt],
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    streamer: TokenSink | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[list[int]]:
    """New token ids for each prompt, without the end mark.

    Shorter prompts are padded on the left. Call it inside `answering`. A streamer receives the prompt first.
    """
    lengths = [len(prompt.ids) for prompt in prompts]
    width = max(lengths)
    embeds = torch.stack([pad(prompt.embeds, (0, 0, width - len(prompt.ids), 0)) for prompt in prompts])
    mask = torch.tensor([[0] * (width - length) + [1] * length for length in lengths], device=embeds.device)
    # The repetition penalty applies to every id of the prompt: pad with an id that the prompt contains.
    ids = [[prompt.ids[0]] * (width - length) + prompt.ids for prompt, length in zip(prompts, lengths, strict=True)]
    inputs = {"input_ids": torch.tensor(ids, device=embeds.device), "inputs_embeds": embeds, "attention_mask": mask}
    return generate_from(model, inputs, sampling, stop_ids, streamer, stopped)


@torch.no_grad()
def generate_from(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    streamer: TokenSink | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[list[int]]:
    """The same for the inputs of a model's own `generate`, whose `input_ids` [B, T] are complete."""
    torch.manual_seed(sampling.seed)
    run = cast(Callable[..., Tensor], model.generate)  # torch's typing takes a module's methods for tensors
    with arguments_alone(model):
        output = run(
            **inputs,
            generation_config=_settings(sampling, stop_ids),
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([_Stopped(stopped)]),
        )
    width = inputs["input_ids"].shape[1]
    return [_before_stop(row[width:].tolist(), stop_ids) for row in output]


def _settings(sampling: Sampling, stop_ids: tuple[int, ...]) -> GenerationConfig:
    """Greedy decoding, or sampling where the temperature asks for it."""
    options: dict[str, Any] = {"do_sample": False}
    if sampling.temperature >= LEAST_TEMPERATURE:
        options = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
        }
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        repetition_penalty=sampling.repetition_penalty,
        eos_token_id=list(stop_ids),
        pad_token_id=stop_ids[0],
        use_cache=True,
        **options,
    )


def _before_stop(ids: list[int], stop_ids: tuple[int, ...]) -> list[int]:
    for index, token in enumerate(ids):
        if token in stop_ids:
            return ids[:index]
    return ids
