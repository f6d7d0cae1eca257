"""Assembled models against their parts: every tower, many LLMs, 4-bit, the image token, freezing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    FastVlmForConditionalGeneration,
    Gemma2Config,
    GemmaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

import vlm.model.vision_model
from llm.errors import ModelError
from llm.model.pretrained import load_llm
from llm.model.quantization import is_four_bit
from tests.vlm.conftest import make_tokenizer, randomise
from vlm.config import VlmModelConfig
from vlm.model.vision_model import VisionModel, build_vlm, embedding_std

TOWERS = ["clip", "siglip", "dinov2", "dinov2_registers", "vit", "cnn"]
SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 258,
}


def build(
    llm: Path, tower: Path, four_bit: bool = False, dtype: torch.dtype = torch.float32, **more: object
) -> VisionModel:
    torch.manual_seed(0)
    settings = {"llm": str(llm), "tower": str(tower), **more}
    return build_vlm(VlmModelConfig.model_validate(settings), dtype, four_bit)


def pixels(model: VisionModel, count: int = 2) -> Tensor:
    size = model.preprocess.size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def prompt(model: VisionModel) -> Tensor:
    """[1, T]: two images with text around them."""
    image = [model.image_id] * model.image_tokens
    return torch.tensor([[5, 6, 7, *image, 8, 9, *image, 10]])


@torch.no_grad()
def our_logits(model: VisionModel, ids: Tensor) -> Tensor:
    """The training forward pass written out: embeddings with image embeddings inserted, decoder, head."""
    tokens = model.embed_tokens(ids[0])
    pictures = model.embed_images(model.features(pixels(model)))
    tokens[ids[0] == model.image_id] = pictures
    positions = torch.arange(len(tokens))[None]
    states = model.language_model(inputs_embeds=tokens[None], position_ids=positions, use_cache=False)
    logits: Tensor = model.lm_head(states.last_hidden_state)
    return logits


@pytest.mark.parametrize("tower", TOWERS)
def test_our_forward_is_the_hugging_face_models(tower: str, tiny_llm: Path, request: pytest.FixtureRequest) -> None:
    model = build(tiny_llm, request.getfixturevalue(tower)).eval()
    kind = FastVlmForConditionalGeneration if tower == "cnn" else LlavaForConditionalGeneration
    assert type(model.hf) is kind
    model.standardise(pixels(model, 8))
    ids = prompt(model)
    whole: Any = model.hf
    with torch.no_grad():
        expected = whole(input_ids=ids, pixel_values=pixels(model)).logits
        blind = whole(input_ids=ids, pixel_values=torch.zeros_like(pixels(model))).logits
    assert torch.allclose(our_logits(model, ids), expected, atol=1e-5)
    assert float((expected - blind).abs().max()) > 1e-3  # the images are in it


@pytest.mark.parametrize("folder", ["tiny_llm", "roomy_llm"])
def test_text_alone_is_the_llm(folder: str, clip: Path, request: pytest.FixtureRequest) -> None:
    llm = request.getfixturevalue(folder)
    model, plain = build(llm, clip), AutoModelForCausalLM.from_pretrained(llm)
    ids = torch.tensor([[1, 2, 3, 4]])
    whole: Any = model.hf
    with torch.no_grad():
        assert torch.equal(whole(input_ids=ids).logits[..., :260], plain(input_ids=ids).logits[..., :260])


def test_a_full_vocabulary_is_enlarged_by_mean_embeddings(tiny_llm: Path, clip: Path) -> None:
    model = build(tiny_llm, clip)
    assert (model.image_id, model.tokenizer.convert_tokens_to_ids("<image>")) == (260, 260)
    assert model.tokenizer.encode("a<image>b", add_special_tokens=False)[1] == 260
    weight: Any = model.embed_tokens.weight
    assert weight.shape == (320, 32)
    assert torch.allclose(weight[260:], weight[:260].mean(0).expand(60, -1), atol=1e-6)
    assert model.hf.config.text_config.vocab_size == 320
    assert "new token 260" in model.notes[0]
    whole: Any = model.hf
    logits = whole(input_ids=torch.arange(40)[None]).logits
    assert int(logits.argmax(-1).max()) < 260


def test_tied_embeddings_stay_tied_and_are_named_in_both_configs(tiny_llm: Path, roomy_llm: Path, clip: Path) -> None:
    tied, untied = build(tiny_llm, clip), build(roomy_llm, clip)
    assert tied.lm_head.weight is tied.embed_tokens.weight
    assert untied.lm_head.weight is not untied.embed_tokens.weight
    for model, expected in ((tied, True), (untied, False)):
        config: Any = model.hf.config
        assert config.tie_word_embeddings is expected
        assert config.text_config.tie_word_embeddings is expected


def test_an_unused_embedding_is_reused(roomy_llm: Path, clip: Path) -> None:
    model = build(roomy_llm, clip)
    before = AutoModelForCausalLM.from_pretrained(roomy_llm).get_input_embeddings().weight
    assert model.image_id == 260
    assert torch.equal(model.embed_tokens.weight, before)
    assert "an unused embedding" in model.notes[0]


def test_the_tokenizers_own_image_token_is_kept(roomy_llm: Path, clip: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(roomy_llm).save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<filler>", "<image>", "<more>"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path)
    model = build(tmp_path, clip)
    assert model.image_id == 261
    assert len(model.tokenizer) == 263
    assert "the tokenizer's own" in model.notes[0]


def test_only_the_projector_trains_and_every_parameter_has_one_name(tiny_llm: Path, clip: Path) -> None:
    model = build(tiny_llm, clip)
    opened = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert opened == {f"projector.linears.{index}.{part}" for index in (0, 1) for part in ("weight", "bias")}
    assert not [name for name, _ in model.named_parameters() if "multi_modal_projector" in name]
    assert {"projector.mean", "projector.std"} <= {name for name, _ in model.named_buffers()}
    assert model.hf.model.multi_modal_projector is model.projector


def test_a_frozen_tower_runs_without_gradients_and_a_trained_one_with(tiny_llm: Path, clip: Path) -> None:
    model = build(tiny_llm, clip)
    assert not model.features(pixels(model)).requires_grad
    model.tower.module.requires_grad_(True)
    assert model.features(pixels(model)).requires_grad
    with torch.no_grad():
        assert not model.features(pixels(model)).requires_grad


@pytest.mark.parametrize("opened", [False, True])
def test_batch_norm_never_moves(opened: bool, tiny_llm: Path, cnn: Path) -> None:
    """In train mode too: batch statistics would make images depend on each other."""
    model = build(tiny_llm, cnn)
    model.tower.module.requires_grad_(opened)
    quiet = model.eval().features(pixels(model))
    before = {name: buffer.clone() for name, buffer in model.tower.module.named_buffers()}
    assert any("running_mean" in name for name in before)
    model.train()
    assert torch.equal(model.features(pixels(model)), quiet)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.tower.module.named_buffers())
    assert model.hf.training
    assert model.tower.module.training is opened


def test_standardise_sets_statistics_and_output_std(tiny_llm: Path, cnn: Path) -> None:
    model = build(tiny_llm, cnn)
    sample = pixels(model, 20)
    model.standardise(sample)
    features = model.features(sample)
    rows = features.flatten(0, 1)
    varied = rows.std(0) > 0.2 * rows.std(0).square().mean().sqrt()
    assert int(varied.sum()) > 100
    assert torch.allclose(model.projector.mean, rows.mean(0), atol=1e-5)
    assert torch.allclose(model.projector.std[varied], rows.std(0, correction=0)[varied], rtol=1e-4)
    spread = float(model.embed_tokens.weight.std())
    assert float(model.embed_images(features).std()) == pytest.approx(spread, rel=0.02)


def test_without_standardise_the_output_std_alone_is_set(tiny_llm: Path, clip: Path) -> None:
    model = build(tiny_llm, clip, standardise=False)
    sample = pixels(model, 4)
    model.standardise(sample)
    assert torch.equal(model.projector.mean, torch.zeros(32))
    assert torch.equal(model.projector.std, torch.ones(32))
    spread = embedding_std(model.embed_tokens)
    assert float(model.embed_images(model.features(sample)).std()) == pytest.approx(spread, rel=1e-3)


def test_the_seed_decides_the_projector(tiny_llm: Path, clip: Path) -> None:
    first, second = build(tiny_llm, clip), build(tiny_llm, clip)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_models_that_cannot_be_exported_are_reported_before_training(tiny_llm: Path, clip: Path) -> None:
    model = build(tiny_llm, clip, pool=2)
    assert model.image_tokens == 4
    assert model.features(pixels(model)).shape == (2, 4, 32)
    assert "cannot be exported: model.pool is 2" in model.notes[-1]
    assert build(tiny_llm, clip).export_obstacle is None


def save(config: PreTrainedConfig, folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    randomise(model)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("kind", [Qwen2Config, Qwen3Config, MistralConfig, Phi3Config, GemmaConfig])
def test_any_causal_lm_can_be_assembled(kind: type[PreTrainedConfig], clip: Path, tmp_path: Path) -> None:
    llm: Any = save(kind(**SMALL), tmp_path)
    model = build(tmp_path, clip).eval()
    ids = torch.tensor([[1, 2, 3, 4]])
    whole: Any = model.hf
    with torch.no_grad():
        assert torch.equal(whole(input_ids=ids).logits, llm(input_ids=ids).logits)
        expected = whole(input_ids=prompt(model), pixel_values=pixels(model)).logits
    assert torch.allclose(our_logits(model, prompt(model)), expected, atol=1e-5)
    given = llm.get_input_embeddings()(torch.arange(300)).std()  # Gemma's are scaled by the root of the width
    assert embedding_std(model.embed_tokens) == pytest.approx(float(given), rel=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SMALL, final_logit_softcapping=0.5),
        PhiConfig(**{**SMALL, "num_key_value_heads": 4}),  # its head has a bias
    ],
)
def test_an_llm_that_changes_its_logits_is_refused(config: PreTrainedConfig, clip: Path, tmp_path: Path) -> None:
    llm: Any = save(config, tmp_path)
    if llm.lm_head.bias is not None:
        llm.lm_head.bias.data += 1
    with pytest.raises(ModelError, match=r"changes the logits after its head"):
        build(tmp_path, clip)


def test_a_four_bit_llm_is_assembled_without_copies(
    roomy_llm: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its modules are the loaded ones, not copies quantised again; gradients reach the projector through them."""
    seen: list[Any] = []

    def spy(path: str, dtype: torch.dtype, four_bit: bool, weights: bool) -> PreTrainedModel:
        seen.append(load_llm(path, dtype, four_bit, weights=weights))
        return seen[-1]

    monkeypatch.setattr(vlm.model.vision_model, "load_llm", spy)
    model = build(roomy_llm, clip, four_bit=True)
    assert model.language_model is seen[0].model
    assert model.lm_head is seen[0].lm_head
    layers = [module for module in model.language_model.modules() if is_four_bit(module)]
    assert len(layers) == 14
    assert not is_four_bit(model.lm_head)
    # One pass in eval mode must not cost the gradient: bitsandbytes would repack the weights for a kernel without one.
    quiet = our_logits(model.eval(), prompt(model))
    model.train()
    assert torch.equal(our_logits(model, prompt(model)), quiet)
    tokens = model.embed_images(model.features(pixels(model)))
    states = model.language_model(inputs_embeds=tokens[None], use_cache=False).last_hidden_state
    model.lm_head(states).square().mean().backward()
    gradient = model.projector.linears[0].weight.grad
    assert isinstance(gradient, Tensor)
    assert float(gradient.abs().max()) > 0
    assert torch.isfinite(gradient).all()


def test_the_tied_embeddings_of_a_four_bit_llm_are_enlarged(tiny_llm: Path, clip: Path) -> None:
    model = build(tiny_llm, clip, four_bit=True)
    weight = model.embed_tokens.weight
    assert isinstance(weight, Tensor)
    assert model.lm_head.weight is weight
    assert (weight.shape, weight.dtype) == ((320, 32), torch.float32)
    assert torch.allclose(weight[260:], weight[:260].mean(0).expand(60, -1), atol=1e-6)


def test_everything_but_statistics_and_batch_norm_is_in_the_dtype_asked_for(tiny_llm: Path, clip: Path) -> None:
    model = build(tiny_llm, clip, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.projector.mean.dtype == torch.float32
    assert model.embed_images(model.features(pixels(model))).dtype == torch.bfloat16


def test_the_tokenizer_is_the_llms_with_an_image_token(tiny_llm: Path, clip: Path) -> None:
    own: Any = AutoTokenizer.from_pretrained(tiny_llm)
    model = build(tiny_llm, clip)
    assert "<image>" not in own.get_vocab()
    assert model.tokenizer.encode("hello", add_special_tokens=False) == own.encode("hello", add_special_tokens=False)
