"""The training forward of a text model: a pack in, a summed loss out."""

from typing import Any

from torch import Tensor, nn
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel, Qwen2ForCausalLM, Qwen3ForCausalLM

from llm.data.batch import PackedBatch
from llm.data.batch_shard import BatchShard
from llm.forward.chunked_loss import HeadLoss
from llm.forward.loss import summed_loss
from llm.lean.decoder import decode, why_not

# Their logits are the head's of the body's rows, and nothing else.
PLAIN_HEADS = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)


class TextModel(nn.Module):
    """A causal LM on packs. `forward` gives the loss sum, `logits` the rows it is made of.

    `lean`: its layers run with our own backward pass where they can (`llm.lean.decoder`).
    """

    def __init__(self, llm: PreTrainedModel, lean: bool = False, in_chunks: bool = True) -> None:
        super().__init__()
        self.llm, self.lean = llm, lean
        self.head_loss = HeadLoss(in_chunks)

    def forward(self, batch: PackedBatch | BatchShard) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        if type(self.llm) not in PLAIN_HEADS:
            return summed_loss(self.logits(batch), batch.targets)
        whole: Any = self.llm
        loss: Tensor = self.head_loss(self._hidden(batch), whole.lm_head, batch.targets)
        return loss

    def logits(self, batch: PackedBatch | BatchShard) -> Tensor:
        """[K, V]: the LM head runs at target rows only."""
        whole: Any = self.llm
        if type(whole) in PLAIN_HEADS:
            plain: Tensor = whole.lm_head(self._hidden(batch))
            return plain
        output = whole(input_ids=batch.input_ids, logits_to_keep=batch.target_rows, **position_of(batch))
        logits: Tensor = output.logits[0]
        return logits

    def _hidden(self, batch: PackedBatch | BatchShard) -> Tensor:
        """[K, H]: what the head reads, at target rows."""
        body: Any = self.llm.base_model
        if self.lean and not why_not(body):
            embeds = body.get_input_embeddings()(batch.input_ids[0])
            return decode(body, embeds, batch.position_ids, batch.attention, batch.target_rows)
        rows: Tensor = body(input_ids=batch.input_ids, **position_of(batch)).last_hidden_state[0]
        return rows.index_select(0, batch.target_rows)


def position_of(batch: PackedBatch | BatchShard) -> dict[str, Any]:
    """Where a pack's rows stand, and what each may see, in transformers' keywords."""
    return {"position_ids": batch.position_ids, "packed": batch.attention, "use_cache": False}
