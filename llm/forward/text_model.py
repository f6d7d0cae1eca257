"""The training forward of a text model: a pack in, a summed loss out."""

from typing import Any

from torch import Tensor
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel, Qwen2ForCausalLM, Qwen3ForCausalLM

from llm.data.batch import PackedBatch
from llm.data.batch_shard import BatchShard
from llm.forward.loss import summed_loss
from llm.forward.pack_model import PackModel

# Causal LMs whose logits are the head's product with the decoder's output, without scaling or soft-capping.
PLAIN_HEADS = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)


class TextModel(PackModel):
    """A causal LM on packs. `forward` returns the summed loss, `logits` those of the target positions."""

    def __init__(self, llm: PreTrainedModel, lean: bool = False, in_chunks: bool = True) -> None:
        super().__init__(lean, in_chunks)
        self.llm = llm

    def forward(self, batch: PackedBatch | BatchShard) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        if type(self.llm) not in PLAIN_HEADS:
            return summed_loss(self.logits(batch), batch.targets)
        untyped: Any = self.llm
        return self.loss(self._hidden(batch), untyped.lm_head, batch.targets)

    def logits(self, batch: PackedBatch | BatchShard) -> Tensor:
        """[K, V]: the LM head runs at target positions only."""
        untyped: Any = self.llm
        if type(self.llm) in PLAIN_HEADS:
            plain: Tensor = untyped.lm_head(self._hidden(batch))
            return plain
        inputs = self.attention_inputs(batch)
        output = untyped(input_ids=batch.input_ids, logits_to_keep=batch.target_indices, **inputs)
        logits: Tensor = output.logits[0]
        return logits

    def _hidden(self, batch: PackedBatch | BatchShard) -> Tensor:
        embeds = self.llm.get_input_embeddings()(batch.input_ids[0])
        body: Any = self.llm.base_model
        return self.hidden_at_targets(body, embeds, batch)
