"""Activations that are computed again in the backward pass instead of being kept."""

from functools import partial
from typing import Any

import torch
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
NARROW = 256  # inner width up to which a product is repeated: an adapter's way back up costs a rank a value


def recompute(llm: PreTrainedModel, config: RunConfig) -> None:
    """Set up what `train.recompute` says, layer by layer; nothing where it is off.

    ZeRO-3 gathers weights around each layer's own backward pass, which only the reentrant kind gives it.
    """
    if not config.train.recompute:
        return
    options: dict[str, object] = {"use_reentrant": config.parallel.zero == 3}
    if config.train.recompute == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, keeps)
    # It also has the embeddings' output ask for a gradient: a reentrant layer of frozen inputs would get no backward
    # pass at all otherwise.
    llm.activation_checkpointing_enable(options)


def keeps(_: object, operation: object, *inputs: Any, **__: Any) -> CheckpointPolicy:
    """`selective` keeps what is dear: the wide matrix products and fused attention (a CPU's keeps
    nothing anyway, llm/attention/padded_groups.py).

    Norms, SwiGLU's product, rotary embeddings and adapters cost next to nothing to repeat and hold most of the memory.
    """
    wide = operation in (ATEN.mm.default, ATEN.addmm.default) and inputs[-1].shape[0] > NARROW
    return CheckpointPolicy.MUST_SAVE if wide or operation in ATTENTION else CheckpointPolicy.PREFER_RECOMPUTE
