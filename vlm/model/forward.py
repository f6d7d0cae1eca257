"""The training forward pass of a vision model: a pack with images in, a summed loss out."""

import torch
from torch import Tensor

from llm.chat.prompt_embedding import insert_images
from llm.config.schema import Lean
from llm.errors import RunError
from llm.forward.pack_model import PackModel
from llm.model.causal_lm import logits_of
from vlm.model.batch import TiledBatch, VlmBatch
from vlm.model.feature_cache import FeatureCache
from vlm.model.vision_model import VisionModel


class VlmModel(PackModel):
    """Image embeddings take their positions in the pack, then the language model runs as on text."""

    def __init__(self, vision: VisionModel, lean: Lean = "off", in_chunks: bool = True) -> None:
        super().__init__(lean, in_chunks)
        self.vision = vision
        self.feature_cache: FeatureCache | None = None  # of a frozen tower
        # Under ZeRO the processes wait for each other in every part of the model: either all of them run the tower in
        # a step, or none does.
        self.lockstep = False

    @property
    def device(self) -> torch.device:
        """Where the batches belong."""
        return next(self.vision.projector.parameters()).device

    def forward(self, batch: VlmBatch) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        return self.loss(self._hidden(batch), self.vision.lm_head, batch.text.targets)

    def log_probs(self, batch: VlmBatch) -> Tensor:
        """[K], fp32: the log-probability of each of the pack's targets."""
        return self.log_probs_of(self._hidden(batch), self.vision.lm_head, batch.text.targets)

    def logits(self, batch: VlmBatch) -> Tensor:
        """[K, V]: logits at the positions of targets only."""
        return logits_of(self.vision.lm_head, self._hidden(batch))

    def _hidden(self, batch: VlmBatch) -> Tensor:
        return self.hidden_at_targets(self.vision.language_model, self.embed(batch), batch.text)

    def embed(self, batch: VlmBatch) -> Tensor:
        """[T, hidden]: token embeddings with image embeddings at the positions of images."""
        tokens: Tensor = self.vision.hf.get_input_embeddings()(batch.text.input_ids[0])
        if not len(batch.image_index):
            return tokens + self._zero(tokens) if torch.is_grad_enabled() or self.lockstep else tokens
        distinct = self.vision.embed_images(self._features(batch))  # [U * P, hidden]
        if batch.tiles is not None:
            return self._tiled(tokens, batch, batch.tiles, distinct)
        images = distinct.view(batch.image_count, -1, distinct.shape[-1])[batch.image_index]  # [I, P, hidden]
        return insert_images(tokens, batch.image_positions, images.flatten(0, 1))

    def _tiled(self, tokens: Tensor, batch: VlmBatch, tiles: TiledBatch, features: Tensor) -> Tensor:
        """Tokens with the projected features [U * P, hidden] of tiles, and the newline rows, at their positions."""
        assert self.vision.newline is not None, "a model with tiles has a newline row"
        placed = insert_images(tokens, batch.image_positions, features.index_select(0, tiles.feature_rows))
        # Apart from the features: the gradient of a row that is expanded is one sum, in fp32 also of bf16 values.
        return insert_images(placed, tiles.newline_positions, self.vision.newline(len(tiles.newline_positions)))

    def _zero(self, tokens: Tensor) -> Tensor:
        """A 0 computed by the projector, so that its parameters get a gradient, of zero, from a pack without images.

        With `lockstep` the tower computes it too, unless its features are cached.
        """
        vision = self.vision
        if self.lockstep and self.feature_cache is None:
            side = vision.preprocess.size
            features = vision.features(tokens.new_zeros(1, 3, side, side, dtype=torch.float32))
        else:
            features = tokens.new_zeros(1, vision.image_tokens, vision.tower.hidden)
        zero = 0 * vision.embed_images(features).sum()
        if vision.newline is not None:
            zero = zero + 0 * vision.newline(1).sum()
        return zero.to(tokens.dtype)

    def _features(self, batch: VlmBatch) -> Tensor:
        """[U, P, C] in the pack's order of images, whether cached or not.

        Not the cached ones first: a matrix product may round a row by its position in the batch.
        """
        if not len(batch.pixel_values):
            return batch.cached_features.index_select(0, batch.feature_order)
        if self.feature_cache is not None and self.lockstep:
            raise RunError(
                f"{len(batch.pixel_values)} images changed since this run began: their features are not cached, and "
                "under ZeRO no process can compute them alone. Restore the images, or set data.cache_features: off"
            )
        if self.feature_cache is None or not batch.cache_keys:
            computed = self.vision.features(batch.pixel_values)
        else:
            computed = self.vision.exact_features(batch.pixel_values)
            for key, features in zip(batch.cache_keys, computed.split(batch.features_of_images), strict=True):
                self.feature_cache.put(key, features)
        if not len(batch.cached_features):
            return computed
        return torch.cat([batch.cached_features, computed]).index_select(0, batch.feature_order)
