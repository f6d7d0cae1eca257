"""The base of text and vision models: from a pack's embeddings to the hidden states at its targets and their loss."""

from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from llm.attention.backend import TORCH, Backend
from llm.config.schema import Lean
from llm.data.batch import PackedBatch
from llm.data.batch_shard import BatchShard
from llm.forward.chunked_loss import HeadLoss
from llm.forward.token_log_probs import HeadLogProbs
from llm.lean.decoder import run_decoder, runs_lean
from llm.model.causal_lm import as_decoder


class PackModel(nn.Module):
    """A model that is called with a pack and returns its summed loss.

    `lean`: on which devices decoder layers run with our own backward pass (`llm.lean.decoder`). `in_chunks`: the logits
    of a pack are computed in chunks. `backend` is passed on to attention, lean layers and the loss.
    """

    def __init__(self, lean: Lean, in_chunks: bool) -> None:
        super().__init__()
        self.lean = lean
        self.head_loss = HeadLoss(in_chunks)
        self.head_log_probs = HeadLogProbs(in_chunks)
        self.backend: Backend = TORCH

    def loss(self, hidden: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
        """Summed cross-entropy, fp32 scalar, of hidden states [K, H] and targets [K]."""
        loss: Tensor = self.head_loss(hidden, head, targets, self.backend.device_type(hidden))
        return loss

    def log_probs_of(self, hidden: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
        """[K], fp32: the log-probability of each target [K], of hidden states [K, H]; 0 where it is IGNORED."""
        return cast(Tensor, self.head_log_probs(hidden, head, targets, self.backend.device_type(hidden)))

    def hidden_at_targets(self, body: PreTrainedModel, embeds: Tensor, text: PackedBatch | BatchShard) -> Tensor:
        """Embeddings [T, H] -> [K, H]: the decoder's output at the target positions, after its final norm."""
        if runs_lean(self.lean, body, self.backend.device_type(embeds)):
            return run_decoder(body, embeds, text.position_ids, text.attention, text.target_indices, self.backend)
        output = as_decoder(body)(inputs_embeds=embeds[None], use_cache=False, **self.attention_inputs(text))
        return output.last_hidden_state[0].index_select(0, text.target_indices)

    def attention_inputs(self, text: PackedBatch | BatchShard) -> dict[str, Any]:
        """The keyword arguments that transformers' models pass on to packed attention."""
        return {
            "position_ids": text.position_ids,
            "packed": text.attention,
            "backend": self.backend,
        }
