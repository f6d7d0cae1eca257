"""The training forward of a text model: a pack in, a summed loss out."""

from torch import Tensor, nn
from transformers import PreTrainedModel

from llm.batch import PackedBatch
from llm.loss import summed_loss
from llm.shard import Shard


class TextModel(nn.Module):
    """A causal LM on packs. `forward` gives the loss sum, `logits` the rows it is made of."""

    def __init__(self, llm: PreTrainedModel) -> None:
        super().__init__()
        self.llm = llm

    def forward(self, batch: PackedBatch | Shard) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        return summed_loss(self.logits(batch), batch.targets)

    def logits(self, batch: PackedBatch | Shard) -> Tensor:
        """[K, V]: the LM head runs at target rows only."""
        output = self.llm(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            use_cache=False,
            packed=batch.attention,
            logits_to_keep=batch.target_rows,
        )
        logits: Tensor = output.logits[0]
        return logits
