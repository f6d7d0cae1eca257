"""Lean layers against transformers' own layers with the same weights."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from llm.attention.gather_index import padded_width
from llm.attention.interface import plain_attention, use_packed_attention
from llm.config.schema import Lean, TextRunConfig
from llm.config.yaml_loader import from_mapping, validate
from llm.data.batch import PackedBatch, collate
from llm.data.prefix_sharing import share_one_prefix
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import ConfigError
from llm.forward.text_model import TextModel
from llm.lean import layer_ops
from llm.lean.activation_budget import ActivationBudget, plan_activations
from llm.lean.decoder import advance_dropout_seeds, lean_mode, runs_lean, unsupported
from llm.lean.lora_linear import AdaptedLinear, LinearGroup, LoraFactors
from llm.model.lora import LoraLinear, apply_tuning
from llm.model.quantization import read_rows_exactly

VOCAB = 96
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
KINDS: dict[str, Any] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "mistral": (MistralForCausalLM, MistralConfig(**SIZES, head_dim=16, sliding_window=None)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True)),
}


def model_of(kind: str, tune: str, dtype: torch.dtype = torch.float32, rank: int = 4) -> tuple[TextModel, list[Tensor]]:
    """A random model in train mode and its trained parameters; norms, biases and adapters are moved off their init."""
    torch.manual_seed(0)
    build, config = KINDS[kind]
    llm = build(config).to(dtype)
    settings = TextRunConfig.model_validate(
        {"name": "x", "model": {"llm": "x"}, "data": {"sources": [{"path": "x"}]}}
        | {"tune": {"kind": tune} | ({"rank": rank, "alpha": 8} if tune == "lora" else {})}
    )
    llm.requires_grad_(False)
    trained: list[Tensor] = [*apply_tuning(llm, settings.tune)]
    with torch.no_grad():
        for name, parameter in llm.named_parameters():
            if "norm" in name or "lora_B" in name or name.endswith("bias"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    use_packed_attention(llm)
    return TextModel(llm, lean="auto").train(), trained


def sample(length: int, seed: int, opening: int = 0) -> Sample:
    """Random tokens after `opening` tokens that all samples share; half of the positions after those have targets."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCAB, length).astype(np.int32)
    ids[:opening] = np.arange(opening)
    labels = np.where(random.random(length) < 0.5, random.integers(0, VOCAB, length), IGNORED).astype(np.int32)
    labels[:opening], labels[-1] = IGNORED, 5
    return Sample(ids, labels)


def answer(length: int) -> Sample:
    """Random tokens, all of them targets."""
    ids = np.random.default_rng(1).integers(0, VOCAB, length).astype(np.int32)
    return Sample(ids, ids)


def pack() -> PackedBatch:
    """Plain samples, and three that share a prefix."""
    shared = share_one_prefix([sample(24, seed, opening=20) for seed in (7, 8, 9)])
    assert shared.branches == (20, 24, 28)
    return collate([sample(30, 1), shared, sample(11, 2), sample(28, 3)])


@contextmanager
def transformers_layers(model: TextModel) -> Iterator[None]:
    """Inside, layers run with autograd's backward pass, and the loss is that of all logits at once."""
    model.lean, model.head_loss.in_chunks = "off", False
    try:
        yield
    finally:
        model.lean, model.head_loss.in_chunks = "auto", True


def step(model: TextModel, trained: list[Tensor], batch: PackedBatch) -> tuple[float, list[Tensor]]:
    loss = model(batch)
    loss.backward()
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    assert len(gradients) == len(trained), "a trained parameter received no gradient"
    for parameter in trained:
        parameter.grad = None
    return float(loss.detach()), gradients


def assert_as_transformers(model: TextModel, trained: list[Tensor], batch: PackedBatch, times: int = 1) -> None:
    """Assert that loss and gradients equal those of transformers' layers, with `times` the usual tolerance."""
    loss, gradients = step(model, trained, batch)
    with transformers_layers(model):
        expected, reference = step(model, trained, batch)
    assert loss == pytest.approx(expected, rel=1e-6 * times)
    for one, other in zip(gradients, reference, strict=True):
        assert torch.allclose(one, other, rtol=1e-4 * times, atol=1e-5 * times * float(other.abs().max()))


@pytest.mark.parametrize("tune", ["full", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_transformers_layers(kind: str, tune: str) -> None:
    model, trained = model_of(kind, tune)
    batch = pack()
    assert len(trained) > 20
    assert_as_transformers(model, trained, batch)


def adapted(model: TextModel) -> tuple[LinearGroup, AdaptedLinear]:
    """A group of only the first adapted linear, 48 x 48, and that linear."""
    group = LinearGroup.of(next(inner for inner in model.modules() if isinstance(inner, LoraLinear)))
    return group, group.parts[0]


@torch.no_grad()
def test_adapters_are_merged_for_large_packs_and_multiplied_separately_for_small_ones() -> None:
    """The fp32 test above has both: 90 positions, weights of 48 x 80, 80 x 48 and 48 x 32."""
    group, linear = adapted(model_of("llama", "lora")[0])
    adapter = linear.adapter
    assert adapter is not None
    x = torch.randn(200, 48)
    plain = torch.nn.functional.linear(x, linear.linear.weight, linear.linear.bias)
    wide = plain + adapter.scale * (x @ adapter.down.t()) @ adapter.up.t()
    assert not group.weights_for(200)[1] and group.weights_for(3)[1]
    assert torch.allclose(group.outputs(x)[0], wide, atol=1e-5)
    assert torch.allclose(group.outputs(x[:3])[0], wide[:3], atol=1e-5)
    assert (wide - plain).abs().max() > 0.01
    low, _ = adapted(model_of("llama", "lora", torch.bfloat16)[0])
    assert low.weights_for(200)[1], "bf16 would round a small adapter away"


def test_dropout_mask_is_the_same_in_both_passes() -> None:
    """Output and gradients of the input and the adapter, against autograd with the mask that the seed draws."""
    model, _ = model_of("llama", "lora")
    set_dropout(model, 0.4)
    torch.manual_seed(3)
    (group, linear), (_, other) = adapted(model), adapted(model)
    adapter = linear.adapter
    assert adapter is not None and other.adapter is not None and other.adapter.seed != adapter.seed
    x, dy = torch.randn(50, 48, requires_grad=True), torch.randn(50, 48)
    with torch.no_grad():
        mask = adapter.dropout(torch.ones(50, 48))
    assert mask.unique().tolist() == pytest.approx([0, 1 / 0.6]) and 0.3 < float((mask == 0).float().mean()) < 0.5
    added = adapter.scale * (x * mask) @ adapter.down.t() @ adapter.up.t()
    expected = torch.nn.functional.linear(x, linear.linear.weight, linear.linear.bias) + added
    wanted_gradients = torch.autograd.grad(expected, (x, adapter.down, adapter.up), dy)
    with torch.no_grad():
        (outputs,) = group.outputs(x)
        d_x, found = group.backward((dy,), x)
    assert torch.allclose(outputs, expected, atol=1e-5) and (added.abs() > 0.01).any()
    for one, reference in zip((d_x, *found), wanted_gradients, strict=True):
        assert one is not None and torch.allclose(one, reference, atol=1e-4)


def test_dropout_depends_on_the_seed_only() -> None:
    model, trained = model_of("llama", "lora")
    batch = pack()
    plain, _ = step(model, trained, batch)
    set_dropout(model, 0.3)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(step(model, trained, batch))
    assert results[0][0] == results[1][0] != results[2][0]
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))
    model.eval()
    with torch.no_grad():
        assert float(model(batch)) == pytest.approx(plain, rel=1e-6), "nothing is dropped in eval mode"


def test_the_first_steps_masks_come_after_one_seed_for_each_adapted_linear() -> None:
    """21 adapted linears, each seed two numbers of 32 bits: a recipe's seed gives the same masks in every release."""
    model, _ = model_of("llama", "lora")
    torch.manual_seed(5)
    advance_dropout_seeds(model)
    without_dropout = torch.get_rng_state()
    set_dropout(model, 0.3)
    advance_dropout_seeds(model)
    advanced = torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), without_dropout)
    for _ in range(21):
        torch.randint(2**62, (), device="cpu")
    assert torch.equal(torch.get_rng_state(), advanced)


def set_dropout(model: TextModel, share: float) -> None:
    for inner in model.modules():
        if isinstance(inner, LoraLinear):
            inner.lora_dropout["default"] = nn.Dropout(share)


def test_frozen_layers_pass_the_gradient_on_to_embeddings() -> None:
    """As in pretraining of a projector: only the embeddings train."""
    model, _ = model_of("llama", "frozen")
    batch, results = pack(), []
    modes: tuple[Lean, ...] = ("on", "off")
    for lean in modes:
        model.lean = lean
        table: Any = model.llm.get_input_embeddings()
        table.weight.requires_grad_(True)
        model(batch).backward()
        results.append(table.weight.grad)
        table.weight.grad = None
    assert results[0] is not None and results[0].abs().max() > 1e-3
    assert torch.allclose(results[0], results[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_bf16_gradients_are_as_close_to_fp32_as_those_of_transformers(tune: str) -> None:
    """The same weights, rounded to bf16; distances of the gradients from those of the same weights in fp32."""
    low, trained = model_of("llama", tune, torch.bfloat16)
    exact, all_of_it = model_of("llama", tune, torch.float32)
    exact.load_state_dict({name: tensor.float() for name, tensor in low.state_dict().items()})
    batch = pack()
    with transformers_layers(exact):
        truth_loss, truth = step(exact, all_of_it, batch)
    loss, ours = step(low, trained, batch)
    with transformers_layers(low):
        theirs_loss, theirs = step(low, trained, batch)
    joined = [torch.cat([grad.float().flatten() for grad in grads]) for grads in (truth, ours, theirs)]
    own, other = ((joined[0] - one).norm() / joined[0].norm() for one in joined[1:])
    assert own < 1.3 * other and other > 1e-4, "the reference is not rounded"
    assert loss == pytest.approx(truth_loss, rel=2e-3) and theirs_loss == pytest.approx(truth_loss, rel=2e-3)


def saved_bytes(model: TextModel, batch: PackedBatch) -> int:
    """The bytes that autograd saves for the backward pass, without parameters, each storage once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        loss = model(batch)
    assert loss.requires_grad
    return sum(saved.values())


def test_lean_layers_save_fewer_bytes() -> None:
    model, _ = model_of("llama", "lora")
    batch = collate([sample(150, 1), sample(140, 2)])
    lean = saved_bytes(model, batch)
    with transformers_layers(model):
        plain = saved_bytes(model, batch)
    assert lean < 0.6 * plain


@pytest.mark.parametrize("targets", [20, 60])
def test_last_feed_forward_runs_at_targets_only_if_they_are_few(targets: int) -> None:
    model, _ = model_of("llama", "frozen")
    labels = np.full(100, IGNORED, np.int32)
    labels[-targets:] = 5
    batch = collate([Sample(np.arange(100, dtype=np.int32) % VOCAB, labels)])
    counted: list[int] = []

    def gated(gate: Tensor, up: Tensor) -> Tensor:
        counted.append(len(gate))
        return layer_ops.gated(gate, up)

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm.lean.decoder.gated", gated)
        loss = float(model(batch))
    assert counted == [100, 100, 20 if targets == 20 else 100] and len(batch.targets) == targets
    with torch.no_grad(), transformers_layers(model):
        assert loss == pytest.approx(float(model(batch)), rel=1e-6)


def test_small_adapters_are_not_rounded_away() -> None:
    """In bf16 a sum of two rounded products loses what is below half the last bit of the larger one."""
    torch.manual_seed(0)
    linear = nn.Linear(48, 48).to(torch.bfloat16).requires_grad_(False)
    down, up = torch.randn(4, 48).to(torch.bfloat16), torch.full((48, 4), 2**-12, dtype=torch.bfloat16)
    x, dy = torch.randn(2, 500, 48).to(torch.bfloat16)
    plain = nn.functional.linear(x.float(), linear.weight.float(), linear.bias.float())
    group = LinearGroup((AdaptedLinear(linear, LoraFactors(down, up, 2.0, 0.0, 0)),))
    (y,), (dx, _) = group.outputs(x), group.backward((dy,), x)
    added, exact = y.float() - plain, 2 * x.float() @ down.float().t() @ up.float().t()
    rounded = (plain.bfloat16() + exact.bfloat16()).float() - plain
    assert (added.mean(1) - exact.mean(1)).norm() < 0.5 * (rounded.mean(1) - exact.mean(1)).norm()
    back, exact_back = dy.float() @ linear.weight.float(), 2 * dy.float() @ up.float() @ down.float()
    rounded_back = (back.bfloat16() + exact_back.bfloat16()).float()
    assert (dx.float() - back - exact_back).norm() < (rounded_back - back - exact_back).norm()


# Saved activations ----------------------------------------------------------------------------------------------------


def test_a_pack_saves_no_more_values_than_the_decoder_has_weights() -> None:
    """Small packs save attention and silu(gate), large ones recompute gate and up; results are equal bit for bit."""
    model, trained = model_of("llama", "lora")
    body: Any = model.llm.base_model
    weights = sum(parameter.numel() for name, parameter in body.named_parameters() if "lora" not in name)
    tiny, small, large, huge = (collate([answer(length)]) for length in (30, 40, 60, 900))
    planned = [
        plan_activations(body, torch.empty(batch.tokens, 48), batch.attention) for batch in (tiny, small, large, huge)
    ]
    assert planned == [
        ActivationBudget(3, 2, 3),
        ActivationBudget(1, 0, 3),
        ActivationBudget(0, 0, 1),
        ActivationBudget(0, 0, 0),
    ]
    for batch in (tiny, small, large):
        assert saved_values(model, batch) < weights * 1.1, "a tenth for angles, masks and the scales of norms"
        always = saved_values(model, batch, ActivationBudget(0, 0, 0))
        loss, gradients = step(model, trained, batch)
        for budget in (
            ActivationBudget(0, 0, 0),
            ActivationBudget(0, 0, 2),
            ActivationBudget(3, 0, 3),
            ActivationBudget(3, 3, 3),
            ActivationBudget(1, 2, 0),
        ):
            queries, keys = batch.tokens, padded_width(batch.tokens, torch.float32)
            attended = queries * 6 * keys + 2 * 2 * (keys - queries) * 8
            expected = budget.gate_up * queries * 2 * 80 + budget.silu * queries * 80 + budget.attention * attended
            assert saved_values(model, batch, budget) - always == expected
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("llm.lean.decoder.plan_activations", lambda *_, budget=budget: budget)
                other, reference = step(model, trained, batch)
            assert loss == other and all(torch.equal(*pair) for pair in zip(gradients, reference, strict=True))
    on_cuda = plan_activations(body, torch.empty(900, 48, device="meta"), huge.attention)
    assert on_cuda == ActivationBudget(0, 0, 3)


def test_attention_of_long_samples_is_not_saved() -> None:
    model, _ = model_of("llama", "lora")
    batch = collate([sample(30, 1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm.lean.activation_budget.SHORT", 29)
        planned = plan_activations(model.llm.base_model, torch.empty(30, 48), batch.attention)
    assert planned == ActivationBudget(0, 3, 3)


def saved_values(model: TextModel, batch: PackedBatch, budget: ActivationBudget | None = None) -> int:
    """As `saved_bytes` returns, in fp32 values; with `budget` instead of the planned one, if given."""
    with pytest.MonkeyPatch.context() as patch:
        if budget is not None:
            patch.setattr("llm.lean.decoder.plan_activations", lambda *_: budget)
        return saved_bytes(model, batch) // 4


def test_a_disabled_adapter_adds_nothing() -> None:
    model, _ = model_of("llama", "lora")
    batch = pack()
    with torch.no_grad():
        on = float(model(batch))
        for inner in model.modules():
            if isinstance(inner, LoraLinear):
                inner.enable_adapters(False)
        off = float(model(batch))
        with transformers_layers(model):
            expected = float(model(batch))
    assert off == pytest.approx(expected, rel=1e-6) and abs(on - off) > 1e-3


def test_four_bit_layers_have_the_same_gradients() -> None:
    from bitsandbytes.nn import Linear4bit

    model, trained = model_of("llama", "lora")
    adapted_layers: list[Any] = [inner for inner in model.modules() if isinstance(inner, LoraLinear)]
    for layer in adapted_layers:
        layer.base_layer = in_four_bits(layer.base_layer, Linear4bit)
    read_rows_exactly(model)  # bitsandbytes reads rows of 48 values wrongly on some CPUs
    batch = pack()
    assert_as_transformers(model, trained, batch, times=10)


def in_four_bits(linear: nn.Linear, kind: Any) -> nn.Module:
    quantised = kind(linear.in_features, linear.out_features, bias=True, compute_dtype=torch.float32)
    quantised.load_state_dict({"weight": linear.weight, "bias": linear.bias})
    module: nn.Module = quantised.to("cpu").requires_grad_(False)
    return module


def test_unsupported_models_have_a_reason_and_run_in_transformers_layers() -> None:
    llm = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16))
    use_packed_attention(llm)
    assert "Qwen3Model is not one of" in unsupported(llm.model)
    batch = collate([sample(30, 1)])
    with torch.no_grad():
        found = float(TextModel(llm, lean="auto")(batch))
        with plain_attention(llm):
            logits = llm(input_ids=batch.input_ids).logits[0, batch.target_indices]
    assert found == pytest.approx(float(cross_entropy(logits, batch.targets, reduction="sum")), rel=1e-5)
    model, _ = model_of("llama", "lora")
    llama: Any = model.llm
    assert unsupported(llama.model) == ""
    with plain_attention(model.llm):
        assert "sdpa" in unsupported(llama.model)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "auto"),
        ({"train": {"lean": "off"}}, "off"),
        ({"train": {"lean": "on"}}, "on"),
        ({"train": {"recompute": True}}, "off"),
        ({"parallel": "zero3"}, "off"),
        ({"parallel": "zero2"}, "auto"),
    ],
)
def test_mode_of_a_recipe(settings: dict[str, Any], expected: str) -> None:
    recipe = {"name": "x", "model": {"llm": "x"}, "data": {"sources": [{"path": "x"}]}}
    assert lean_mode(TextRunConfig.model_validate(recipe | settings)) == expected


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({"train": {"lean": "on", "recompute": True}}, "train.recompute"),
        ({"train": {"lean": "on", "recompute": "selective"}}, "train.recompute"),
        ({"train": {"lean": "on"}, "parallel": "zero3"}, "parallel.zero: 3"),
    ],
)
def test_lean_layers_are_refused_where_they_cannot_run(settings: dict[str, Any], other: str) -> None:
    recipe = {"name": "x", "model": {"llm": "x"}, "data": {"sources": [{"path": "x"}]}}
    message = f"train.lean: on cannot be combined with {other}; set one of them"
    with pytest.raises(ConfigError, match=re.escape(message)):
        validate(from_mapping(recipe | settings), TextRunConfig)


@pytest.mark.parametrize(("mode", "cpu", "cuda"), [("auto", True, False), ("on", True, True), ("off", False, False)])
def test_auto_is_on_for_a_cpu_only(mode: Lean, cpu: bool, cuda: bool) -> None:
    body: Any = model_of("llama", "lora")[0].llm.base_model
    assert (runs_lean(mode, body, "cpu"), runs_lean(mode, body, "cuda")) == (cpu, cuda)
    assert not runs_lean("on", Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16)).model, "cpu")


def test_rotation_equals_that_of_transformers() -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    x, angles = torch.randn(7, 3, 8), torch.randn(7, 4)
    both = torch.cat([angles, angles], -1)
    cos, sin = both.cos(), both.sin()
    by_head = x.transpose(0, 1)[None]
    expected = apply_rotary_pos_emb(by_head, by_head, cos[None], sin[None])[0][0].transpose(0, 1)
    turned = layer_ops.rotated(x, cos.unsqueeze(1), sin.unsqueeze(1))
    assert torch.allclose(turned, expected, atol=1e-6)
    assert torch.allclose(layer_ops.rotated(turned, cos.unsqueeze(1), sin.unsqueeze(1), back=True), x, atol=1e-6)


@pytest.mark.parametrize("drop", [0.0, 0.4])
@pytest.mark.parametrize("count", [3, 200])
def test_group_of_linears_equals_separate_linears(count: int, drop: float) -> None:
    """Against autograd: three linears of different widths and ranks, one without adapter, one with A frozen."""
    torch.manual_seed(5)
    linears = [nn.Linear(12, width) for width in (10, 6, 8)]
    linears[1].requires_grad_(False)
    ranks = ((linears[0], 2), (linears[2], 5))
    adapters = {
        id(linear): LoraFactors(torch.randn(rank, 12), torch.randn(linear.out_features, rank), 1.5, drop, seed=rank)
        for linear, rank in ranks
    }
    wanted = [tensor for adapter in adapters.values() for tensor in (adapter.down, adapter.up)]
    wanted.pop(2)
    for tensor in wanted:
        tensor.requires_grad_()
    group = LinearGroup(tuple(AdaptedLinear(linear, adapters.get(id(linear))) for linear in linears))
    x, grads = torch.randn(count, 12, requires_grad=True), [torch.randn(count, width) for width in (10, 6, 8)]
    expected = [linear(x) for linear in linears]
    for index in (0, 2):
        adapter = adapters[id(linears[index])]
        with torch.no_grad():
            mask = adapter.dropout(torch.ones(count, 12))
        expected[index] = expected[index] + 1.5 * (x * mask) @ adapter.down.t() @ adapter.up.t()
    reference = torch.autograd.grad(expected, (x, *group.trained), grads)
    with torch.no_grad():
        d_x, found = group.backward(grads, x)
        assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(group.outputs(x), expected, strict=True))
    assert len(group.trained) == 7
    for one, other in zip((d_x, *found), reference, strict=True):
        assert one is not None and torch.allclose(one, other, rtol=1e-4, atol=1e-3)
