"""Standardisation, its exact folding, the std of the output, and what can be exported."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vlm.config import VlmModelConfig
from vlm.vision.projector import (
    STD_FLOOR,
    Projector,
    activation,
    build_projector,
    export_obstacle,
    feature_statistics,
    fold_statistics,
)

HIDDEN = 16


def config(**settings: object) -> VlmModelConfig:
    return VlmModelConfig.model_validate({"llm": "llm", "tower": "tower", **settings})


def rows(count: int = 400, channels: int = 6) -> Tensor:
    """Features whose channels differ in mean and std by orders of magnitude."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(-2, 1, channels)
    return torch.randn(count, channels, generator=generator) * spread + torch.linspace(-20, 30, channels) * spread


def flat_rows(count: int = 240, channels: int = 6) -> Tensor:
    """Features of similar std, none below the floor."""
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(1)) + torch.arange(channels)


def with_statistics(**settings: object) -> Projector:
    torch.manual_seed(0)
    projector = build_projector(config(**settings), 6, HIDDEN)
    projector.set_statistics(*feature_statistics([rows()]))
    return projector


@pytest.mark.parametrize("kind", ["linear", "mlp2x_gelu"])
def test_a_folded_projector_is_the_plain_one(kind: str) -> None:
    """The state is that of transformers' own module, with the activation its config names."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    projector = with_statistics(projector=kind)
    plain = LlavaMultiModalProjector(
        LlavaConfig(
            vision_config=CLIPVisionConfig(hidden_size=6, num_attention_heads=2),
            text_config=LlamaConfig(hidden_size=HIDDEN, num_attention_heads=2),
            projector_hidden_act=activation(config(projector=kind)),
        )
    )
    plain.load_state_dict(fold_statistics(projector))
    with torch.no_grad():
        found, expected = plain(rows()), projector(rows())
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)


def test_folding_changes_nothing_in_the_projector() -> None:
    projector = with_statistics()
    before = {name: tensor.clone() for name, tensor in projector.state_dict().items()}
    fold_statistics(projector)
    assert all(torch.equal(tensor, before[name]) for name, tensor in projector.state_dict().items())


def test_forward_is_standardise_then_linears_with_gelu_between() -> None:
    projector = with_statistics(projector="mlp3x_gelu", projector_hidden=10)
    shapes = [tuple(linear.weight.shape) for linear in projector.linears if isinstance(linear, nn.Linear)]
    assert shapes == [(10, 6), (10, 10), (HIDDEN, 10)]
    assert projector.hidden == HIDDEN
    x = (rows() - rows().mean(0)) / projector.std
    first, second, third = projector.linears
    expected = third(nn.functional.gelu(second(nn.functional.gelu(first(x)))))
    assert torch.allclose(projector(rows()), expected, atol=1e-5)


def test_statistics_do_not_train_and_are_saved() -> None:
    projector = with_statistics()
    assert {name for name, _ in projector.named_parameters()} == {
        f"linears.{index}.{part}" for index in (0, 1) for part in ("weight", "bias")
    }
    assert {name for name, _ in projector.named_buffers()} == {"mean", "std"}
    assert {"mean", "std"} < projector.state_dict().keys()


def test_statistics_stay_fp32_when_the_linears_are_rounded() -> None:
    """Features of mean 3000 and std 1 would be equal after bf16 subtraction."""
    projector = with_statistics()
    projector.set_statistics(torch.full((6,), 3000.0), torch.ones(6))
    projector.linears.to(torch.bfloat16)
    found = projector(torch.full((1, 6), 3000.5))
    assert found.dtype == torch.bfloat16
    assert not torch.equal(found, projector(torch.full((1, 6), 3001.0)))


def test_statistics_are_those_of_all_rows_however_they_are_cut() -> None:
    features = flat_rows()
    mean, std = feature_statistics([features[:100].reshape(10, 10, 6), features[100:].reshape(7, 20, 6)])
    assert np.allclose(mean, features.double().numpy().mean(0), rtol=1e-6)
    assert np.allclose(std, features.double().numpy().std(0), rtol=1e-5)
    whole = feature_statistics([features])
    assert torch.allclose(mean, whole[0])
    assert torch.allclose(std, whole[1])


def test_statistics_survive_a_large_offset() -> None:
    """A sum of squares around zero has no digits left for a std of 1e-3 at 1e4."""
    values = torch.tensor([10000.0, 10000.0009765625]).repeat(50)[:, None]
    _, std = feature_statistics([values])
    assert float(std) == pytest.approx(0.00048828125, rel=1e-3)


def test_the_std_of_a_nearly_constant_channel_has_a_floor() -> None:
    features = torch.cat([rows(100, 3), torch.full((100, 1), 7.0)], 1)
    _, std = feature_statistics([features])
    rms = float(features.std(0, correction=0).square().mean().sqrt())
    assert float(std[3]) == pytest.approx(STD_FLOOR * rms, rel=1e-4)
    assert torch.equal(feature_statistics([torch.ones(5, 2)])[1], torch.ones(2))


def test_the_output_gets_the_requested_std() -> None:
    projector = with_statistics()
    projector.scale_to(0.136, rows())
    assert float(projector(rows()).detach().std()) == pytest.approx(0.136, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, None),
        ({"projector": "linear"}, None),
        ({"projector_hidden": HIDDEN}, None),
        ({"projector_hidden": 8}, "projector_hidden is 8"),
        ({"projector": "linear", "projector_hidden": 8}, None),
        ({"projector": "mlp3x_gelu"}, "projector is mlp3x_gelu"),
        ({"pool": 2}, "pool is 2"),
    ],
)
def test_projectors_that_transformers_supports(settings: dict[str, object], reason: str | None) -> None:
    found = export_obstacle(config(**settings), HIDDEN)
    assert (found is None) if reason is None else (found is not None and reason in found)
