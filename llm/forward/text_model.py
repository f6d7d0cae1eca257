"""The forward pass of a text model: from a pack to its summed loss."""

from torch import Tensor
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel, Qwen2ForCausalLM, Qwen3ForCausalLM

from llm.config.schema import Lean
from llm.data.batch import PackedBatch
from llm.data.batch_shard import BatchShard
from llm.forward.chunked_loss import summed_loss
from llm.forward.pack_model import PackModel
from llm.forward.token_log_probs import gathered
from llm.model.causal_lm import as_causal_lm, decoder_of, logits_of

# Causal LMs whose logits are the head's product with the decoder's output, without scaling or soft-capping.
PLAIN_HEADS = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)


class TextModel(PackModel):
    """A causal LM that is called with packs. `forward` returns the summed loss, `logits` those at target positions."""

    def __init__(self, llm: PreTrainedModel, lean: Lean = "off", in_chunks: bool = True) -> None:
        super().__init__(lean, in_chunks)
        self.llm = llm

    def forward(self, batch: PackedBatch | BatchShard) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        if type(self.llm) not in PLAIN_HEADS:
            return summed_loss(self.logits(batch), batch.targets)
        return self.loss(self._hidden(batch), as_causal_lm(self.llm).lm_head, batch.targets)

    def log_probs(self, batch: PackedBatch | BatchShard) -> Tensor:
        """[K], fp32: the log-probability of each of the pack's targets."""
        if type(self.llm) not in PLAIN_HEADS:
            return gathered(self.logits(batch), batch.targets)
        return self.log_probs_of(self._hidden(batch), as_causal_lm(self.llm).lm_head, batch.targets)

    def logits(self, batch: PackedBatch | BatchShard) -> Tensor:
        """[K, V], at the target positions only."""
        llm = as_causal_lm(self.llm)
        if type(self.llm) in PLAIN_HEADS:
            return logits_of(llm.lm_head, self._hidden(batch))
        inputs = self.attention_inputs(batch)
        return llm(input_ids=batch.input_ids, logits_to_keep=batch.target_indices, use_cache=False, **inputs).logits[0]

    def _hidden(self, batch: PackedBatch | BatchShard) -> Tensor:
        embeds = self.llm.get_input_embeddings()(batch.input_ids[0])
        return self.hidden_at_targets(decoder_of(self.llm), embeds, batch)
