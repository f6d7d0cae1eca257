"""A causal LM, a vision tower and a projector, assembled into transformers' own LLaVA-like class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AddedToken,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llm.encoding.message_text import IMAGE_PLACEHOLDER
from llm.errors import ModelError
from llm.formats.conversation import ImageShape
from llm.model.causal_lm import as_causal_lm, as_decoder, decoder_of, head_of, logits_of
from llm.model.meta_model import on_meta_unless
from llm.model.pretrained import find_tokenizer, load_llm, load_tokenizer
from vlm.config import VlmModelConfig
from vlm.vision.exact_batching import ExactBatches
from vlm.vision.images import Preprocess
from vlm.vision.projector import (
    Newline,
    Projector,
    activation,
    build_projector,
    export_obstacle,
    feature_statistics,
    load_llava_projector,
)
from vlm.vision.tile_rows import places_of_tiles
from vlm.vision.towers import CNN, Tower, load_tower

Assembled = LlavaForConditionalGeneration | LlavaNextForConditionalGeneration | FastVlmForConditionalGeneration
AssembledConfig = LlavaConfig | LlavaNextConfig | FastVlmConfig

STD_IDS = 8192  # embeddings of which the std is taken; all of a large vocabulary would take gigabytes
STATISTICS_BATCH = 16  # images per forward pass when statistics are measured
VOCABULARY_MULTIPLE = 64  # keeps an enlarged vocabulary fast on tensor cores


@dataclass(frozen=True, slots=True)
class ImageToken:
    """The id of the image token, and a line for the log on where it came from."""

    id: int
    note: str


class VisionModel(nn.Module):
    """The model of a vision run: the Hugging Face model `hf`, with its parts by name.

    `projector` is also `multi_modal_projector` inside `hf`; it is registered here first, so that its parameters are
    named `projector.*`. So is `newline`, which models without tiles lack. Everything else is frozen until a stage
    unfreezes it.
    """

    def __init__(
        self,
        config: VlmModelConfig,
        hf: Assembled,
        projector: Projector,
        tower: Tower,
        tokenizer: PreTrainedTokenizerBase | None,
        image: ImageToken,
        newline: Newline | None = None,
    ) -> None:
        super().__init__()
        self.projector = projector
        self.newline = newline
        self.hf = hf
        self.config = config
        self.tower = tower
        self.exact_features = ExactBatches(tower)
        self._tokenizer = tokenizer
        self.image = image
        hf.requires_grad_(False)
        for part in self.projecting:
            part.requires_grad_(True)

    @property
    def projecting(self) -> tuple[nn.Module, ...]:
        """The modules that every stage trains: the projector and, with tiles, the newline row."""
        return (self.projector,) if self.newline is None else (self.projector, self.newline)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The LLM's tokenizer with the image token; only a model on the meta device may lack one."""
        assert self._tokenizer is not None, "a model without weights was built from a folder without a tokenizer"
        return self._tokenizer

    @property
    def image_tokens(self) -> int:
        """Tokens of an image; of a tiled image those of one view."""
        return self.tower.image_tokens

    @property
    def image_id(self) -> int:
        """The id of the image token."""
        return self.image.id

    @property
    def preprocess(self) -> Preprocess:
        """Turns images into pixel values."""
        return self.tower.preprocess

    @property
    def language_model(self) -> PreTrainedModel:
        """The LLM without its head."""
        return cast(PreTrainedModel, self.hf.model.language_model)

    @property
    def lm_head(self) -> nn.Linear:
        """The LLM's head; its weight is the embeddings' when they are tied."""
        return cast(nn.Linear, self.hf.lm_head)

    @property
    def embed_tokens(self) -> nn.Module:
        """The LLM's token embeddings."""
        return self.language_model.get_input_embeddings()

    @property
    def export_obstacle(self) -> str | None:
        """Why this model cannot be exported to a Hugging Face folder; None if it can. Logged before training."""
        return export_obstacle(self.config, self.projector.hidden)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the log before step 1."""
        reason, most = self.export_obstacle, self.tower.largest
        size = f"an image is {self.image_tokens} tokens of {self.tower.hidden} features"
        if self.newline is not None:
            size = f"an image is up to {most.tokens:,} tokens, of {most.views} views of {self.image_tokens}"
        notes = (self.image.note, size)
        return notes if reason is None else (*notes, f"this model cannot be exported: {reason}")

    def features(self, pixel_values: Tensor) -> Tensor:
        """[I, 3, H, W] -> [I, P, C]: the projector's input. A frozen tower is run without gradients."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tower_trains):
            return self.tower.features(pixel_values)

    def embed_images(self, features: Tensor) -> Tensor:
        """[I, P, C] -> [I * P, hidden of the LLM]."""
        return torch.flatten(self.projector(features), 0, 1)

    def image_rows(self, features: Tensor, shapes: Sequence[ImageShape]) -> Tensor:
        """[V, P, C] of all views of images -> [R, hidden of the LLM], as they take their places in a prompt."""
        rows = self.embed_images(features)
        if self.newline is None:
            return rows
        assert self.tower.tiling is not None, "a newline row closes a line of tiles"
        placed = places_of_tiles(self.tower.tiling, self.image_tokens, shapes).to(rows.device)
        made = rows.new_empty(placed.total, rows.shape[-1])
        made = made.index_copy(0, placed.features_at, rows.index_select(0, placed.features))
        return made.index_copy(0, placed.newlines_at, self.newline(len(placed.newlines_at)).to(rows.dtype))

    @torch.no_grad()
    def standardise(self, pixel_values: Tensor) -> None:
        """Set the projector's statistics from sample images [N, 3, H, W], and its output's std to the embeddings'.

        Called once, before a fresh model's first step. With `standardise: false` the std alone is set; a projector with
        `projector_weights` stays as it is.
        """
        if self.config.projector_weights:
            return
        parts = [pixel_values[at : at + STATISTICS_BATCH] for at in range(0, len(pixel_values), STATISTICS_BATCH)]
        features = torch.cat([self.features(part) for part in parts])
        if self.config.standardise:
            self.projector.set_statistics(*feature_statistics(features))
        self.projector.scale_to(embedding_std(self.embed_tokens), features)

    def train(self, mode: bool = True) -> "VisionModel":
        """A frozen tower stays in eval mode. BatchNorm always does: its batch statistics would couple images."""
        super().train(mode)
        frozen = not self.tower_trains
        for module in self.tower.module.modules():
            if frozen or isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self

    @property
    def tower_trains(self) -> bool:
        """Whether any parameter of the tower is trained."""
        return any(parameter.requires_grad for parameter in self.tower.module.parameters())


def build_vlm(config: VlmModelConfig, dtype: torch.dtype, four_bit: bool = False, weights: bool = True) -> VisionModel:
    """Build a recipe's model before any training. The projector's weights are drawn under the global seed.

    Without `weights` all tensors are on the meta device and the folders need to hold config.json only; a tokenizer is
    read if there is one. Raises ModelError for folders that cannot be loaded or combined, ConfigError for settings that
    do not fit them.
    """
    with on_meta_unless(weights):
        tokenizer = load_tokenizer(config.llm) if weights else find_tokenizer(config.llm)
        # The larger model first: a file and the tensors made of it are in memory at once.
        llm = load_llm(config.llm, dtype, four_bit, weights=weights)
        if weights:
            _check_head(config.llm, llm)
        tower = build_tower(config, dtype, weights)
        image = place_image_token(tokenizer, llm)
        projector = build_projector(config, tower.hidden, llm.config.hidden_size)
        if weights:
            _initialise(projector, config, llm)
        projector.linears.to(dtype)
        hf = assemble(config, llm, tower, projector, image.id)
        newline = None
        if isinstance(hf, LlavaNextForConditionalGeneration):
            spread = embedding_std(llm.get_input_embeddings()) if weights else 1.0
            newline = Newline(llm.config.hidden_size, spread).to(dtype)
            hf.model.image_newline = newline.weight
        return VisionModel(config, hf, projector, tower, tokenizer, image, newline)


def build_tower(config: VlmModelConfig, dtype: torch.dtype, weights: bool = True) -> Tower:
    """The recipe's tower; without `weights` on the meta device. Raises as `load_tower`."""
    with on_meta_unless(weights):
        return load_tower(
            config.tower,
            config.tower_layer,
            config.image_size,
            config.image_mode,
            config.pool,
            dtype,
            weights,
            config.image_resolutions,
        )


def _initialise(projector: Projector, config: VlmModelConfig, llm: PreTrainedModel) -> None:
    """Scale a fresh projector's output to the std of the LLM's embeddings; then load `projector_weights`, if any."""
    # Correct for standardised features; `standardise` repeats it on real ones.
    sample = torch.randn(256, len(projector.mean), generator=torch.Generator().manual_seed(0))
    projector.scale_to(embedding_std(llm.get_input_embeddings()), sample)
    if config.projector_weights:
        load_llava_projector(projector, Path(config.projector_weights))


def assemble(
    config: VlmModelConfig, llm: PreTrainedModel, tower: Tower, projector: Projector, image_id: int
) -> Assembled:
    """Combine loaded parts into transformers' class; nothing is copied, converted or quantised again."""
    hf_config = _config(config, llm, tower, image_id)
    hf = on_meta(hf_config)
    body = decoder_of(llm)
    if type(hf.model.language_model) is not type(body):
        raise ModelError(
            f"{config.llm}: transformers would load its {llm.config.model_type} config as "
            f"{type(hf.model.language_model).__name__}, not {type(body).__name__}. Take another LLM"
        )
    hf.model.vision_tower = tower.module
    hf.model.language_model = body
    hf.model.multi_modal_projector = projector
    hf.lm_head = head_of(llm)
    hf.generation_config = llm.generation_config
    hf.train(False)
    return hf


def on_meta(config: AssembledConfig) -> Assembled:
    """The model of a config on the meta device."""
    with torch.device("meta"):
        if isinstance(config, FastVlmConfig):
            return FastVlmForConditionalGeneration(config)
        if isinstance(config, LlavaNextConfig):
            return LlavaNextForConditionalGeneration(config)
        return LlavaForConditionalGeneration(config)


def place_image_token(tokenizer: PreTrainedTokenizerBase | None, llm: PreTrainedModel) -> ImageToken:
    """Give the tokenizer an `<image>` token and the LLM an embedding for it, if they have none.

    An unused embedding beyond the tokenizer's vocabulary is reused. Otherwise the embeddings are enlarged; new ones are
    the mean of the others, so that no new token can be the likeliest. Without a tokenizer no embedding is taken to be
    unused, as in most models.
    """
    size = _vocabulary_size(llm.get_input_embeddings())
    number, known = give_image_token(tokenizer) if tokenizer is not None else (size, False)
    if number >= size:
        _enlarge_vocabulary(llm, -(-(number + 1) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE)
        return ImageToken(
            number, f"{IMAGE_PLACEHOLDER} is the new token {number}; the vocabulary was enlarged from {size} embeddings"
        )
    origin = "the tokenizer's own" if known else "an unused embedding"
    return ImageToken(number, f"{IMAGE_PLACEHOLDER} is token {number}, {origin}")


def give_image_token(tokenizer: PreTrainedTokenizerBase) -> tuple[int, bool]:
    """Give the tokenizer an `<image>` token if it has none; returns its id and whether it existed."""
    known = IMAGE_PLACEHOLDER in tokenizer.get_added_vocab()
    if not known:
        tokenizer.add_tokens([AddedToken(IMAGE_PLACEHOLDER, special=True, normalized=False)], special_tokens=True)
    number = tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER)
    assert isinstance(number, int)
    return number, known


@torch.no_grad()
def embedding_std(embeddings: nn.Module) -> float:
    """Standard deviation of the embeddings' output (some scale their weights) over evenly spaced ids."""
    weight = next(embeddings.parameters())
    step = max(1, len(weight) // STD_IDS)
    ids = torch.arange(0, len(weight), step, device=weight.device)
    return float(embeddings(ids).float().std())


@torch.no_grad()
def _enlarge_vocabulary(llm: PreTrainedModel, size: int) -> None:
    """Enlarge input and output embeddings; each new one is the mean of the old ones."""
    before = _vocabulary_size(llm.get_input_embeddings())
    llm.resize_token_embeddings(size, mean_resizing=False)
    for module in (llm.get_input_embeddings(), head_of(llm)):
        weight = next(module.parameters())
        weight[before:] = weight[:before].float().mean(0).to(weight.dtype)


def _vocabulary_size(embeddings: nn.Module) -> int:
    return len(next(embeddings.parameters()))


@torch.no_grad()
def _check_head(name: str, llm: PreTrainedModel) -> None:
    """Raise ModelError for an LLM that changes its head's logits: the assembled class would not."""
    head = head_of(llm)
    ids = torch.arange(4, device=llm.device)[None]
    expected = as_causal_lm(llm)(input_ids=ids, use_cache=False).logits
    got = logits_of(head, as_decoder(decoder_of(llm))(input_ids=ids, use_cache=False).last_hidden_state)
    if head.bias is not None or not torch.allclose(got.float(), expected.float(), rtol=1e-3, atol=1e-3):
        raise ModelError(
            f"{name}: a {llm.config.model_type} model changes the logits after its head (a bias, a scale or a cap), "
            "which transformers' Llava and FastVlm leave out. Take another LLM"
        )


def _config(config: VlmModelConfig, llm: PreTrainedModel, tower: Tower, image_id: int) -> AssembledConfig:
    """The assembled model's config. Tied embeddings are set in both places, since readers look in either."""
    shared: dict[str, Any] = {
        "vision_config": tower.module.config,
        "text_config": llm.config,
        "image_token_index": image_id,
        "image_seq_length": tower.image_tokens,
        "projector_hidden_act": activation(config),
        "tie_word_embeddings": llm.config.tie_word_embeddings,
    }
    if tower.kind == CNN:
        return FastVlmConfig(**shared)
    shared |= {"vision_feature_layer": tower.layer, "vision_feature_select_strategy": tower.strategy}
    if tower.tiling is None:
        return LlavaConfig(**shared)
    return LlavaNextConfig(**shared, image_grid_pinpoints=[list(one) for one in tower.tiling.resolutions])
