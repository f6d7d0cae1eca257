"""The proof goes red: each test breaks one thing on purpose, and the proof names what differs or takes another way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from llm.encoding.encoder import Sample
from llm.errors import ModelError
from vlm.ready import batch, forward, ways
from vlm.ready.processor import ReadyProcessor
from vlm.ready.proof import Finding, prove
from vlm.ready.ready_model import ImageRows, ReadyVlm
from vlm.ready.ways import Way

Opened = Callable[[str], ReadyVlm]


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize(("least", "differs"), [(2, "the logits of a pack differ by"), (1, "the logits differ by")])
def test_positions_computed_on_the_pack(
    name: str, least: int, differs: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One position after the other over the pack: height and width of images are lost. Once in packs alone."""
    honest = batch.pack_positions

    def on_the_pack(vlm: ReadyVlm, samples: Sequence[Sample], *rest: Any) -> Tensor:
        if len(samples) < least:
            return honest(vlm, samples, *rest)
        return torch.arange(sum(len(sample.ids) for sample in samples))[None].expand(3, 1, -1)

    monkeypatch.setattr(batch, "pack_positions", on_the_pack)
    with pytest.raises(ModelError, match=differs):
        prove(opened(name))


@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "internvl"])
def test_one_row_of_an_image_shifted(name: str, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ReadyVlm.features
    monkeypatch.setattr(
        ReadyVlm, "features", lambda self, inputs: replace(found := honest(self, inputs), rows=found.rows.roll(1, 0))
    )
    with pytest.raises(ModelError, match="something else here than in plain transformers: the logits differ by"):
        prove(opened(name))


def test_deepstack_dropped(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ReadyVlm.features

    def without(self: ReadyVlm, inputs: dict[str, Tensor]) -> ImageRows:
        found = honest(self, inputs)
        assert len(found.layers) == 2
        return replace(found, layers=tuple(torch.zeros_like(layer) for layer in found.layers))

    monkeypatch.setattr(ReadyVlm, "features", without)
    with pytest.raises(ModelError, match="the logits differ by"):
        prove(opened("qwen3_vl"))


def test_a_mask_that_is_not_bidirectional(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma's images attend to themselves both ways: with a causal mask its records are computed one by one."""
    honest = ways.record_attention

    def causal(*states: Any, **rest: Any) -> tuple[Tensor, None]:
        return honest(states[0], states[1], states[2], states[3], None, **rest)

    monkeypatch.setattr(ways, "record_attention", causal)
    vlm = opened("gemma3")
    proof = prove(vlm)
    assert [way for way, _ in proof.tried] == [Way.SPANS, Way.RECORDS]
    assert all(finding.what == "logits" and finding.found > 0.01 for _, finding in proof.tried)
    assert proof.way == vlm.way == Way.ALONE and not proof.shares_prefixes


def test_records_of_a_pack_that_see_each_other(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "RecordBounds", lambda bounds: ways.RecordBounds((0, bounds[-1])))
    proof = prove(opened("gemma3"))
    assert proof.way == Way.ALONE
    assert [finding.what for _, finding in proof.tried] == ["logits", "logits of a pack"]


def test_a_gradient_that_does_not_reach_the_image(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ReadyVlm.features
    monkeypatch.setattr(
        ReadyVlm, "features", lambda self, inputs: replace(found := honest(self, inputs), rows=found.rows.detach())
    )
    with pytest.raises(ModelError, match=r"the cosine of the gradients is 0\.\d+, at least 0\.9999 is needed"):
        prove(opened("llava"))


def test_a_shared_prefix_with_other_positions(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pack stays right, and prefixes are not shared."""
    honest = batch.positions_of
    monkeypatch.setattr(
        batch,
        "positions_of",
        lambda vlm, sample, *rest: honest(vlm, replace(sample, branches=()) if sample.branches else sample, *rest),
    )
    proof = prove(opened("llava"))
    assert proof.way == Way.SPANS and not proof.shares_prefixes
    assert proof.prefixes is not None and proof.prefixes.found > 1e-3


def test_other_tokens_than_the_processor_writes(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ReadyProcessor.written
    monkeypatch.setattr(
        ReadyProcessor, "written", lambda self, sizes: tuple(text + self.image_token for text in honest(self, sizes))
    )
    with pytest.raises(ModelError, match=r"a record \(one image\) becomes other tokens here .* '<image>' here and"):
        prove(opened("llava"))


@pytest.mark.parametrize(("what", "found"), [("logits", float("inf")), ("gradients", -1.0)])
def test_what_is_not_a_number_does_not_hold(
    what: str, found: float, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = forward.hidden_states
    monkeypatch.setattr(forward, "hidden_states", lambda *given: honest(*given) * float("nan"))
    with pytest.raises(ModelError, match="differ by inf"):
        prove(opened("llava"))
    assert not Finding(what, found, 0.9999).holds
