"""A causal LM, a vision tower and a projector, assembled into transformers' own LLaVA-like class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AddedToken,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llm.encoding.segments import IMAGE_PLACEHOLDER
from llm.errors import ModelError
from llm.model.causal_lm import as_causal_lm, as_decoder, decoder_of, head_of, logits_of
from llm.model.meta_model import on_meta_unless
from llm.model.pretrained import find_tokenizer, load_llm, load_tokenizer
from vlm.config import VlmModelConfig
from vlm.vision.exact_batching import Apart
from vlm.vision.images import Preprocess
from vlm.vision.projector import Projector, activation, build_projector, exportable, feature_statistics, load_llava
from vlm.vision.towers import CNN, Tower, load_tower

Assembled = LlavaForConditionalGeneration | FastVlmForConditionalGeneration

SPREAD_IDS = 8192  # embeddings looked at for their spread; all of a large vocabulary would take gigabytes
STATISTICS_BATCH = 16  # images a forward when features are measured
VOCABULARY_MULTIPLE = 64  # a grown vocabulary stays fast on tensor cores


@dataclass(frozen=True, slots=True)
class ImageToken:
    """The id that holds an image's rows in a sequence, and where it came from."""

    id: int
    note: str


class VisionModel(nn.Module):
    """What a vision run trains: `hf` is the Hugging Face model, its parts are reachable by name.

    `projector` stands inside `hf` as `multi_modal_projector`; being registered here first, its parameters are named
    `projector.*`. Everything but the projector is frozen until a stage opens it.
    """

    def __init__(
        self,
        config: VlmModelConfig,
        hf: Assembled,
        projector: Projector,
        tower: Tower,
        tokenizer: PreTrainedTokenizerBase | None,
        image: ImageToken,
    ) -> None:
        super().__init__()
        self.projector = projector
        self.hf = hf
        self.config = config
        self.vision = tower
        self.apart = Apart(tower)
        self._tokenizer = tokenizer
        self.image = image
        hf.requires_grad_(False)
        projector.requires_grad_(True)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The LLM's tokenizer with the image token; only a model without weights may lack one."""
        assert self._tokenizer is not None, "a model without weights was built from a folder without a tokenizer"
        return self._tokenizer

    @property
    def rows(self) -> int:
        """Rows an image takes."""
        return self.vision.rows

    @property
    def image_id(self) -> int:
        """The id that stands for an image's row."""
        return self.image.id

    @property
    def preprocess(self) -> Preprocess:
        """What makes pixels of pictures."""
        return self.vision.preprocess

    @property
    def tower(self) -> PreTrainedModel:
        """The vision network, as it stands in `hf`."""
        tower: PreTrainedModel = self.hf.model.vision_tower
        return tower

    @property
    def language_model(self) -> PreTrainedModel:
        """The LLM without its head."""
        body: PreTrainedModel = self.hf.model.language_model
        return body

    @property
    def lm_head(self) -> nn.Module:
        """The LLM's head; its weight is the embeddings' when they are tied."""
        head: nn.Module = self.hf.lm_head
        return head

    @property
    def embed_tokens(self) -> nn.Module:
        """The LLM's token embeddings."""
        embeddings: nn.Module = self.language_model.get_input_embeddings()
        return embeddings

    @property
    def unexportable(self) -> str | None:
        """Why this model cannot become a plain Hugging Face folder, to be said before training; None if it can."""
        return exportable(self.config, self.projector.hidden)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before step 1, one line each."""
        reason = self.unexportable
        notes = (self.image.note, f"an image is {self.rows} rows of {self.vision.hidden} features")
        return notes if reason is None else (*notes, f"this model cannot be exported: {reason}")

    def features(self, pixel_values: Tensor) -> Tensor:
        """[I, 3, H, W] -> [I, P, C]: what the projector reads. No graph is kept for a frozen tower."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tower_trains):
            return self.vision.features(pixel_values)

    def embed_images(self, features: Tensor) -> Tensor:
        """[I, P, C] -> [I * P, hidden of the LLM]."""
        rows: Tensor = self.projector(features)
        return rows.flatten(0, 1)

    @torch.no_grad()
    def standardise(self, pixel_values: Tensor) -> None:
        """Fix the projector's statistics on sample images [N, 3, H, W] and its output's spread on the embeddings'.

        Once, before a fresh model's first step. With `standardise: false` the spread alone is set; a projector that
        was trained before stays as it is.
        """
        if self.config.projector_weights:
            return
        parts = [pixel_values[at : at + STATISTICS_BATCH] for at in range(0, len(pixel_values), STATISTICS_BATCH)]
        features = torch.cat([self.features(part) for part in parts])
        if self.config.standardise:
            self.projector.set_statistics(*feature_statistics(features))
        self.projector.scale_to(embedding_spread(self.embed_tokens), features)

    def train(self, mode: bool = True) -> "VisionModel":
        """A frozen tower stays in eval mode. BatchNorm always does: its batch statistics would tie images together."""
        super().train(mode)
        frozen = not self.tower_trains
        for module in self.tower.modules():
            if frozen or isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self

    @property
    def tower_trains(self) -> bool:
        """Whether anything in the tower does."""
        return any(parameter.requires_grad for parameter in self.tower.parameters())


def build_vlm(config: VlmModelConfig, dtype: torch.dtype, four_bit: bool = False, weights: bool = True) -> VisionModel:
    """A fresh model as the recipe says. The projector's weights are drawn under the global seed.

    Without `weights` all tensors are on the meta device; the folders need hold config.json only, a tokenizer is read
    where there is one. Raises ModelError for folders that cannot be loaded or joined, ConfigError for settings that do
    not fit them.
    """
    with on_meta_unless(weights):
        tokenizer = load_tokenizer(config.llm) if weights else find_tokenizer(config.llm)
        # The larger first: a file and what is made of it lie in memory at once.
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
        return VisionModel(config, hf, projector, tower, tokenizer, image)


def build_tower(config: VlmModelConfig, dtype: torch.dtype, weights: bool = True) -> Tower:
    """The recipe's tower; without `weights` on the meta device. Raises as `load_tower`."""
    with on_meta_unless(weights):
        return load_tower(
            config.tower, config.tower_layer, config.image_size, config.image_mode, config.pool, dtype, weights
        )


def _initialise(projector: Projector, config: VlmModelConfig, llm: PreTrainedModel) -> None:
    """Scale a fresh projector's output to the spread of the LLM's embeddings; then read `projector_weights`, if any."""
    # Right for standardised features; `standardise` does it again on real ones.
    sample = torch.randn(256, len(projector.mean), generator=torch.Generator().manual_seed(0))
    projector.scale_to(embedding_spread(llm.get_input_embeddings()), sample)
    if config.projector_weights:
        load_llava(projector, Path(config.projector_weights))


def assemble(
    config: VlmModelConfig, llm: PreTrainedModel, tower: Tower, projector: Projector, image_id: int
) -> Assembled:
    """Put loaded parts in their places: nothing is copied, converted or quantised again."""
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


def on_meta(config: LlavaConfig | FastVlmConfig) -> Assembled:
    """The class of a config, without any weights."""
    with torch.device("meta"):
        if isinstance(config, FastVlmConfig):
            return FastVlmForConditionalGeneration(config)
        return LlavaForConditionalGeneration(config)


def place_image_token(tokenizer: PreTrainedTokenizerBase | None, llm: PreTrainedModel) -> ImageToken:
    """Give the tokenizer an `<image>` token and the LLM a row for it, if they have none.

    A row beyond the tokenizer's vocabulary is reused; else the embeddings grow by rows that are the mean of the
    others, so that no new token can be the likeliest one. Without a tokenizer they are taken to have no row to spare,
    as most vocabularies.
    """
    rows = _rows_of(llm.get_input_embeddings())
    number, known = give_image_token(tokenizer) if tokenizer is not None else (rows, False)
    if number >= rows:
        _grow(llm, -(-(number + 1) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE)
        return ImageToken(
            number, f"{IMAGE_PLACEHOLDER} is the new token {number}; the embeddings grew from {rows} rows"
        )
    origin = "the tokenizer's own" if known else "a spare row of the embeddings"
    return ImageToken(number, f"{IMAGE_PLACEHOLDER} is token {number}, {origin}")


def give_image_token(tokenizer: PreTrainedTokenizerBase) -> tuple[int, bool]:
    """Give the tokenizer an `<image>` token if it has none; its id, and whether it was there."""
    known = IMAGE_PLACEHOLDER in tokenizer.get_added_vocab()
    if not known:
        tokenizer.add_tokens([AddedToken(IMAGE_PLACEHOLDER, special=True, normalized=False)], special_tokens=True)
    number = tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER)
    assert isinstance(number, int)
    return number, known


@torch.no_grad()
def embedding_spread(embeddings: nn.Module) -> float:
    """Standard deviation of what the embeddings give (some scale their weights), over evenly spaced ids."""
    weight = next(embeddings.parameters())
    step = max(1, len(weight) // SPREAD_IDS)
    ids = torch.arange(0, len(weight), step, device=weight.device)
    return float(embeddings(ids).float().std())


@torch.no_grad()
def _grow(llm: PreTrainedModel, rows: int) -> None:
    """More rows for input and output embeddings, each the mean of the old ones."""
    before = _rows_of(llm.get_input_embeddings())
    llm.resize_token_embeddings(rows, mean_resizing=False)
    for module in (llm.get_input_embeddings(), head_of(llm)):
        weight = next(module.parameters())
        weight[before:] = weight[:before].float().mean(0).to(weight.dtype)


def _rows_of(embeddings: nn.Module) -> int:
    return len(next(embeddings.parameters()))


@torch.no_grad()
def _check_head(name: str, llm: PreTrainedModel) -> None:
    """Refuse an LLM whose logits are more than its head on its body: the assembled class would drop the rest."""
    head = head_of(llm)
    ids = torch.arange(4, device=llm.device)[None]
    expected = as_causal_lm(llm)(input_ids=ids, use_cache=False).logits
    got = logits_of(head, as_decoder(decoder_of(llm))(input_ids=ids, use_cache=False).last_hidden_state)
    if head.bias is not None or not torch.allclose(got.float(), expected.float(), rtol=1e-3, atol=1e-3):
        raise ModelError(
            f"{name}: a {llm.config.model_type} model changes the logits behind its head (a bias, a scale or a cap), "
            "which transformers' Llava and FastVlm leave out. Take another LLM"
        )


def _config(config: VlmModelConfig, llm: PreTrainedModel, tower: Tower, image_id: int) -> LlavaConfig | FastVlmConfig:
    """The assembled model's config. Tied embeddings are named in both places: readers look in either."""
    shared: dict[str, Any] = {
        "vision_config": tower.module.config,
        "text_config": llm.config,
        "image_token_index": image_id,
        "image_seq_length": tower.rows,
        "projector_hidden_act": activation(config),
        "tie_word_embeddings": llm.config.tie_word_embeddings,
    }
    if tower.kind == CNN:
        return FastVlmConfig(**shared)
    return LlavaConfig(**shared, vision_feature_layer=tower.layer, vision_feature_select_strategy=tower.strategy)
