"""Whether an exported folder answers a batch of unequal prompts, in plain transformers, as it answers one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from llm.encoding.template_sandbox import RefusedError, render
from llm.errors import ModelError
from llm.model.eval_mode import arguments_alone

QUESTIONS = ("Hi", "What is 12 + 34? Answer with the number alone.", "Who are you, and who made you?")
NEW_TOKENS = 8
# Largest difference of a logit, in standard deviations of the logits. Sums in another order differ by 1e-5 in fp32;
# right padding by about 1.
LIMIT = 1e-2

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Answers:
    """Generated ids [B, N], and the logits [B, V] of each of the N steps."""

    ids: Tensor
    logits: tuple[Tensor, ...]


def prove_text_batch(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ModelError unless the questions, as one batch by the saved tokenizer, are answered as one by one.

    They pass through its chat template with a generation prompt, or are plain text where it has none that takes them.
    """
    if tokenizer.pad_token_id is None:  # no batch can be made with it
        return
    chat = takes_questions(tokenizer)

    def prepare(texts: Sequence[str]) -> Inputs:
        if chat:
            return chat_inputs(tokenizer.apply_chat_template, [[{"role": "user", "content": text}] for text in texts])
        return cast(Inputs, tokenizer(list(texts), padding=True, return_tensors="pt", return_token_type_ids=False))

    prove_batch(model, prepare, QUESTIONS)


def takes_questions(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer's template renders a question by itself, within the limits for templates from elsewhere."""
    own = tokenizer.chat_template
    jinja = own.get("default") if isinstance(own, dict) else own
    if not jinja:
        return False
    values = {**tokenizer.special_tokens_map, "add_generation_prompt": True}
    try:
        return bool(render(jinja, [{"role": "user", "content": QUESTIONS[0]}], values))
    except RefusedError:
        return False


def chat_inputs(apply: Callable[..., object], conversations: list[list[dict[str, Any]]], **options: object) -> Inputs:
    """Conversations as a batch for `generate`, by the `apply_chat_template` of a tokenizer or processor."""
    settings = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    return cast(Inputs, apply(conversations, **settings, **(options or {"padding": True})))


def prove_batch(model: PreTrainedModel, prepare: Callable[[Sequence[Any]], Inputs], questions: Sequence[Any]) -> None:
    """Generate for all `questions` together and for each alone; ModelError where an answer is another one."""
    together = _generate(model, prepare(questions))
    for number, question in enumerate(questions):
        alone = _generate(model, prepare([question]))
        worst = _difference(alone, together, number)
        if not worst <= LIMIT:  # NaN fails too
            raise ModelError(
                f"the exported folder answers question {number + 1} of {len(questions)} otherwise in a batch of "
                f"unequal prompts than alone: logits differ by {worst:.2e} of their standard deviation, more than "
                f"{LIMIT}. Nothing was written. Please report this with the recipe"
            )


@torch.no_grad()
def _generate(model: PreTrainedModel, inputs: Inputs) -> Answers:
    run = cast(Callable[..., Any], model.generate)  # torch's typing takes a module's methods for tensors
    settings = GenerationConfig(
        max_new_tokens=NEW_TOKENS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    with arguments_alone(model):
        output = run(**inputs, generation_config=settings)
    return Answers(output.sequences[:, inputs["input_ids"].shape[1] :], output.logits)


def _difference(alone: Answers, together: Answers, row: int) -> float:
    """The largest difference of logits while both answers are the same, in standard deviations."""
    worst = 0.0
    for step, (one, all_) in enumerate(zip(alone.logits, together.logits, strict=False)):
        worst = max(worst, float((one[0] - all_[row]).abs().max() / one[0].std()))
        if alone.ids[0, step] != together.ids[row, step]:  # after a near tie the answers go on differently
            break
    return worst
