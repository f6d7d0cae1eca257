"""The training forward of a vision model: a pack with pictures in, a summed loss out."""

import torch
from torch import Tensor

from llm.chat.prompt_embedding import insert_images
from llm.config.schema import Lean
from llm.errors import RunError
from llm.forward.pack_model import PackModel
from vlm.model.batch import VlmBatch
from vlm.model.feature_cache import FeatureStore
from vlm.model.vision_model import VisionModel


class VlmModel(PackModel):
    """Pictures become rows of the pack, then the language model runs as on text."""

    def __init__(self, vision: VisionModel, lean: Lean = "off", in_chunks: bool = True) -> None:
        super().__init__(lean, in_chunks)
        self.vision = vision
        self.store: FeatureStore | None = None  # keeps what a frozen tower makes of a picture
        # Under ZeRO the processes wait for each other in every part of the model: none may call the tower alone, or
        # leave it out.
        self.together = False

    @property
    def device(self) -> torch.device:
        """Where the batches belong."""
        return next(self.vision.projector.parameters()).device

    def forward(self, batch: VlmBatch) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        return self.loss(self._hidden(batch), self.vision.lm_head, batch.text.targets)

    def logits(self, batch: VlmBatch) -> Tensor:
        """[K, V]: the LM head runs at target rows only."""
        logits: Tensor = self.vision.lm_head(self._hidden(batch))
        return logits

    def _hidden(self, batch: VlmBatch) -> Tensor:
        return self.hidden_at_targets(self.vision.language_model, self.embed(batch), batch.text)

    def embed(self, batch: VlmBatch) -> Tensor:
        """[T, hidden]: token embeddings with the projected pictures in their rows."""
        tokens: Tensor = self.vision.hf.get_input_embeddings()(batch.text.input_ids[0])
        if not len(batch.image_of):
            return tokens + self._blank(tokens) if torch.is_grad_enabled() or self.together else tokens
        pictures = self.vision.embed_images(self._features(batch))  # [U * P, hidden]
        per_place = pictures.view(batch.pictures, -1, pictures.shape[-1])[batch.image_of]
        return insert_images(tokens, batch.image_rows, per_place.flatten(0, 1))

    def _blank(self, tokens: Tensor) -> Tensor:
        """A 0 that depends on what pictures go through: a pack of text has a gradient as well, of zero.

        That is the projector; under ZeRO also the tower, where it runs in every step.
        """
        vision = self.vision
        if self.together and self.store is None:
            side = vision.preprocess.size
            features = vision.features(tokens.new_zeros(1, 3, side, side, dtype=torch.float32))
        else:
            features = tokens.new_zeros(1, vision.rows, vision.vision.hidden)
        return (0 * vision.embed_images(features).sum()).to(tokens.dtype)

    def _features(self, batch: VlmBatch) -> Tensor:
        """[U, P, C]. Each picture at its own place, known or not: a product may round a row by where it stands."""
        if not len(batch.pixel_values):
            return batch.known.index_select(0, batch.order)
        if self.store is not None and self.together:
            raise RunError(
                f"{len(batch.pixel_values)} pictures changed since this run began: their features are not kept, and "
                "under ZeRO no process computes them alone. Bring them back, or set data.cache_features: off"
            )
        if self.store is None or not batch.names:
            fresh = self.vision.features(batch.pixel_values)
        else:
            fresh = self.vision.apart(batch.pixel_values)
            for name, features in zip(batch.names, fresh, strict=True):
                self.store.put(name, features)
        return torch.cat([batch.known, fresh]).index_select(0, batch.order) if len(batch.known) else fresh
