"""Which parameters train, what adapters compute, and that adapters can be switched off."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as PeftLinear
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from llm.config.schema import OptimConfig, TuneConfig
from llm.errors import ConfigError
from llm.model.lora import (
    LoraLinear,
    LoraSettings,
    adapters_off,
    apply_tuning,
    inject_adapter,
    last_parts,
    lora_layers,
    train_parameters,
)
from llm.model.merge import merge_adapters
from llm.model.pretrained import load_llm
from llm.model.quantization import is_four_bit
from llm.train.optimizer import ParamGroup, build_optimizer
from tests.llm.model.adapters import IDS, LINEARS, LORA, logits, shake, tiny_llava, training

pytestmark = pytest.mark.usefixtures("same_draws")


# What trains ----------------------------------------------------------------------------------------------------------


def test_lora_trains_adapters_on_every_linear_of_the_layers_and_nothing_else(llm: PreTrainedModel) -> None:
    before, shapes = logits(llm), {name: p.shape for name, p in llm.named_parameters()}
    parameters = apply_tuning(llm, LORA)
    names = {name for name, _ in lora_layers(llm)}
    assert len(names) == 14 and {name.rpartition(".")[2] for name in names} == LINEARS
    assert all(name.startswith("model.layers.") for name in names)
    assert training(llm) == {f"{name}.lora_{x}.default.weight" for name in names for x in "AB"}
    assert {id(p) for p in parameters} == {id(p) for p in llm.parameters() if p.requires_grad}
    assert len(parameters) == 28
    kept = {name.replace(".base_layer", ""): p.shape for name, p in llm.named_parameters() if "lora_" not in name}
    assert kept == shapes  # in place: the model's own names stay
    assert torch.equal(logits(llm), before)
    shake(llm)
    assert (logits(llm) - before).abs().max() > 0.01


def test_targets_match_a_name_or_its_end(llm: PreTrainedModel) -> None:
    apply_tuning(llm, LORA.model_copy(update={"targets": ("v_proj", "layers.1.mlp.up_proj")}))
    assert [name for name, _ in lora_layers(llm)] == [
        "model.layers.0.self_attn.v_proj",
        "model.layers.1.self_attn.v_proj",
        "model.layers.1.mlp.up_proj",
    ]


@pytest.mark.parametrize("target", ["lm_head", "proj", "query_key_value"])
def test_targets_that_are_no_linear_of_a_layer_are_named(llm: PreTrainedModel, target: str) -> None:
    with pytest.raises(ConfigError, match=rf"tune\.targets: {target}: not found.*q_proj"):
        apply_tuning(llm, LORA.model_copy(update={"targets": ("q_proj", target)}))
    assert not list(lora_layers(llm))


@pytest.mark.parametrize("kind", ["lora", "qlora", "full", "frozen"])
def test_a_vision_models_tower_and_projector_do_not_change(kind: Any) -> None:  # a literal
    """peft's own all-linear includes both (see the next test)."""
    llava = tiny_llava()
    llava.requires_grad_(False)
    llava.model.multi_modal_projector.requires_grad_(True)
    projector = training(llava)
    apply_tuning(llava, LORA.model_copy(update={"kind": kind}))
    opened = training(llava) - projector
    assert projector and projector <= training(llava)
    assert all(name.startswith(("model.language_model.", "lm_head.")) for name in opened)
    assert any(name.startswith("lm_head.") for name in opened) == (kind == "full")
    assert bool(opened) == (kind != "frozen")


def test_peft_all_linear_includes_tower_and_projector() -> None:
    llava = tiny_llava()
    inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), llava)
    hit = [name for name, module in llava.named_modules() if isinstance(module, PeftLinear)]
    assert any("vision_tower" in name for name in hit) and any("multi_modal_projector" in name for name in hit)


def test_full_trains_everything_and_returns_a_tied_head_once() -> None:
    config = LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    for tie in (False, True):
        config.tie_word_embeddings = tie
        llm = LlamaForCausalLM(config)
        llm.requires_grad_(False)
        parameters = apply_tuning(llm, TuneConfig(kind="full"))
        assert all(parameter.requires_grad for parameter in llm.parameters())
        assert len(parameters) == len(set(map(id, parameters))) == len(list(llm.parameters()))
        assert (llm.lm_head.weight is llm.model.embed_tokens.weight) == tie


def test_frozen_trains_nothing(llm: PreTrainedModel) -> None:
    assert apply_tuning(llm, TuneConfig(kind="frozen")) == [] and not training(llm)


def test_a_body_is_tuned_like_its_causal_lm(llm: Any) -> None:  # a Llama
    apply_tuning(llm.model, LORA)
    assert len(list(lora_layers(llm.model))) == 14
    assert all(parameter.requires_grad for parameter in llm.lm_head.parameters())  # not ours to freeze


def test_towers_get_adapters_in_their_layers_only() -> None:
    """SigLIP's pooling head is never called: adapters there would get no gradient, and its attention ignores them."""
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"image_size": 28, "patch_size": 14}
    siglip = SiglipVisionModel(SiglipVisionConfig(**sizes, intermediate_size=48))
    assert any("head" in name for name, module in siglip.named_modules() if isinstance(module, nn.Linear))
    inject_adapter(siglip, LoraSettings(rank=2, alpha=4))
    names = [name for name, _ in lora_layers(siglip)]
    assert len(names) == 12 and not any("head" in name for name in names)
    dino = Dinov2Model(Dinov2Config(**sizes, mlp_ratio=2))
    parameters = inject_adapter(dino, LoraSettings(rank=2, alpha=4, dropout=0.1, targets=("q_proj", "v_proj")))
    assert {name.rpartition(".")[2] for name, _ in lora_layers(dino)} == {"q_proj", "v_proj"}
    assert len(parameters) == 8
    pixels = torch.randn(1, 3, 28, 28)
    before = dino(pixels).last_hidden_state
    shake(dino)
    dino.train()
    dino(pixels).last_hidden_state.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in parameters)
    dino.train(False)
    expected = dino(pixels).last_hidden_state
    assert (expected - before).abs().max() > 1e-3
    merge_adapters(dino)
    torch.testing.assert_close(dino(pixels).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


def test_a_tower_without_linears_is_refused() -> None:
    cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(ConfigError, match="every linear: not found in Sequential; it has: none"):
        inject_adapter(cnn, LoraSettings(rank=2, alpha=4))


# What adapters compute ------------------------------------------------------------------------------------------------


def test_our_layer_equals_pefts_in_values_and_gradients(tiny_llama: Path) -> None:
    ours = load_llm(str(tiny_llama), torch.float32)
    theirs = load_llm(str(tiny_llama), torch.float32)
    apply_tuning(ours, LORA)
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=8, target_modules=sorted(LINEARS)), theirs)
    shake(ours)
    theirs.load_state_dict(ours.state_dict())
    kinds = {type(module) for module in theirs.modules() if isinstance(module, PeftLinear)}
    assert kinds == {PeftLinear} and {type(layer) for _, layer in lora_layers(ours)} == {LoraLinear}
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-5, rtol=1e-5)
    for llm in (ours, theirs):
        llm(input_ids=IDS, labels=IDS).loss.backward()
    grads = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    assert len(grads) == 28
    for name, parameter in ours.named_parameters():
        if name in grads:
            torch.testing.assert_close(parameter.grad, grads[name], atol=1e-6, rtol=1e-4)


def test_dropout_acts_on_the_adapters_input_in_training_only() -> None:
    body = nn.ModuleList([nn.Linear(8, 8, bias=False)])
    inject_adapter(body, LoraSettings(rank=8, alpha=8.0, dropout=0.5))
    layer = next(layer for _, layer in lora_layers(body))
    with torch.no_grad():
        layer.base_layer.weight.zero_()
        for factor in layer.factors().values():
            factor.copy_(torch.eye(8))
    x = torch.ones(400, 8)
    layer.train()
    dropped = layer(x)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}  # each input kept doubled or dropped
    assert abs(float(dropped.detach().mean()) - 1) < 0.1
    layer.eval()
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("four_bit", [False, True])
def test_adapters_have_the_dtype_their_base_computes_in(tiny_llama: Path, four_bit: bool) -> None:
    """fp32 adapters under autocast cost a third of the speed."""
    llm = load_llm(str(tiny_llama), torch.bfloat16, four_bit)
    parameters = apply_tuning(llm, LORA)
    assert {parameter.dtype for parameter in parameters} == {torch.bfloat16}
    assert logits(llm).dtype == torch.bfloat16


def test_qlora_trains_on_a_cpu(tiny_llama: Path) -> None:
    llm = load_llm(str(tiny_llama), torch.bfloat16, four_bit=True)
    llm.train()
    parameters = apply_tuning(llm, TuneConfig(kind="qlora", rank=8, alpha=16.0))
    packed = {name: buffer.clone() for name, buffer in llm.named_parameters() if buffer.dtype == torch.uint8}
    assert len(packed) == 14
    optimizer = build_optimizer([ParamGroup("llm", parameters, 1e-2)], OptimConfig(name="paged_adamw8bit"))
    losses = []
    for _ in range(12):
        loss = llm(input_ids=IDS, labels=IDS).loss
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.clip(1.0)
        optimizer.step(1.0)
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.7  # the frozen random head allows little more than 1
    assert all(torch.equal(dict(llm.named_parameters())[name], before) for name, before in packed.items())


@pytest.mark.parametrize("mode", [True, False])
def test_gradients_through_four_bit_weights_are_those_of_their_dense_values(tiny_llama: Path, mode: bool) -> None:
    """In eval mode too, where bitsandbytes would repack the weights and give other gradients."""
    packed = load_llm(str(tiny_llama), torch.float32, four_bit=True)
    dense = load_llm(str(tiny_llama), torch.float32, four_bit=True)
    merge_adapters(dense)
    grads = []
    for llm in (packed, dense):
        torch.manual_seed(1)
        parameters = apply_tuning(llm, LORA)
        shake(llm)
        llm.train(mode)
        llm(input_ids=IDS, labels=IDS).loss.backward()
        grads.append([parameter.grad for parameter in parameters])
    assert is_four_bit(packed.get_submodule("model.layers.0.mlp.up_proj.base_layer"))
    assert all(grad is not None and grad.abs().max() > 1e-4 for grad in grads[1])
    torch.testing.assert_close(grads[0], grads[1], atol=1e-5, rtol=1e-3)


def test_four_bit_weights_cannot_train_in_full(tiny_llama: Path) -> None:
    llm = load_llm(str(tiny_llama), torch.bfloat16, four_bit=True)
    with pytest.raises(ConfigError, match="4-bit weights"):
        apply_tuning(llm, TuneConfig(kind="full"))
    with pytest.raises(ConfigError, match="4-bit weights"):
        train_parameters(llm)


def test_adapters_off_computes_as_the_base_and_restores_everything(llm: PreTrainedModel) -> None:
    base = logits(llm)
    apply_tuning(llm, LORA)
    shake(llm)
    frozen = next(layer for _, layer in lora_layers(llm))
    frozen.requires_grad_(False)
    opened, tuned = training(llm), logits(llm)
    assert len(opened) == 26
    with pytest.raises(KeyboardInterrupt), adapters_off(llm):
        assert torch.equal(logits(llm), base)
        with adapters_off(llm):
            assert torch.equal(logits(llm), base)
        assert torch.equal(logits(llm), base)
        raise KeyboardInterrupt
    assert torch.equal(logits(llm), tuned) and not torch.equal(tuned, base)
    assert training(llm) == opened


def test_last_parts_of_names_are_unique_and_sorted() -> None:
    assert last_parts(["layers.0.mlp.up", "layers.1.mlp.up", "layers.0.down", "head"]) == ["down", "head", "up"]
