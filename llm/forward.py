"""The training forward of a text model: a pack in, a summed loss out."""

from typing import Any

from torch import Tensor, nn
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel, Qwen2ForCausalLM

from llm.batch import PackedBatch
from llm.lean import decode, why_not
from llm.loss import summed_loss
from llm.shard import Shard

PLAIN_HEADS = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM)  # logits are the head's, and nothing else


class TextModel(nn.Module):
    """A causal LM on packs. `forward` gives the loss sum, `logits` the rows it is made of.

    `lean`: its layers run with our own backward pass where they can (`llm.lean`).
    """

    def __init__(self, llm: PreTrainedModel, lean: bool = False) -> None:
        super().__init__()
        self.llm, self.lean = llm, lean

    def forward(self, batch: PackedBatch | Shard) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        return summed_loss(self.logits(batch), batch.targets)

    def logits(self, batch: PackedBatch | Shard) -> Tensor:
        """[K, V]: the LM head runs at target rows only."""
        whole: Any = self.llm
        if self.lean and type(whole) in PLAIN_HEADS and not why_not(whole.model):
            embeds = whole.get_input_embeddings()(batch.input_ids[0])
            lean: Tensor = whole.lm_head(
                decode(whole.model, embeds, batch.position_ids, batch.attention, batch.target_rows)
            )
            return lean
        output = self.llm(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            use_cache=False,
            packed=batch.attention,
            logits_to_keep=batch.target_rows,
        )
        logits: Tensor = output.logits[0]
        return logits
