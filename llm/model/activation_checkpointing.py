"""Activation checkpointing: activations are computed again in the backward pass instead of saved."""

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers import PreTrainedModel

from llm.config.schema import RunConfig

ATEN = torch.ops.aten
ATTENTION = (
    ATEN._scaled_dot_product_flash_attention_for_cpu.default,
    ATEN._scaled_dot_product_flash_attention.default,
    ATEN._scaled_dot_product_efficient_attention.default,
    ATEN._scaled_dot_product_cudnn_attention.default,
)
NARROW = 256  # a product over at most so many terms is recomputed: an adapter's second one has `rank`


def recompute(model: PreTrainedModel, config: RunConfig) -> None:
    """Checkpoint every layer of an LLM or a tower as `train.recompute` says; nothing where it is off.

    ZeRO-3 gathers weights in backward hooks of each layer, which run with the reentrant implementation only.
    """
    if not config.train.recompute:
        return
    options: dict[str, object] = {"use_reentrant": config.parallel.zero == 3}
    if config.train.recompute == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, selective_policy)
    model.activation_checkpointing_enable(options)
    # A reentrant layer whose inputs need no gradient would have no backward pass. The call above makes the output of
    # an LLM's embeddings need one, of a tower's it does not.
    if options["use_reentrant"] and model.main_input_name != "input_ids":
        model.enable_input_require_grads()


def selective_policy(_: object, operation: object, *inputs: Tensor, **__: object) -> CheckpointPolicy:
    """The policy of `selective`: save wide matrix products and fused attention, recompute the rest.

    Norms, SwiGLU's product, rotary embeddings and adapters take little time and most of the memory. (Attention on a
    CPU saves nothing in any case, llm/attention/padded_groups.py.)
    """
    wide = operation in (ATEN.mm.default, ATEN.addmm.default) and inputs[-1].shape[0] > NARROW
    return CheckpointPolicy.MUST_SAVE if wide or operation in ATTENTION else CheckpointPolicy.PREFER_RECOMPUTE
