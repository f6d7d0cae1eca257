"""Forecasts against built models and real steps of tiny models; docs/benchmarks/plan.md has larger shapes."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig

from llm.attention.gather_index import GatherIndex
from llm.attention.padded_groups import SHORT as PLAIN
from llm.config.schema import RunConfig, TextRunConfig
from llm.data.loader import Schedule
from llm.data.packing import PackPlan
from llm.devices import Card
from llm.errors import ConfigError, ModelError
from llm.forward import chunked_loss as heads
from llm.model.lora import lora_layers
from llm.model.precision import Hardware
from llm.planning.allocation_tracker import AllocationTracker
from llm.planning.layout_memo import LayoutMemo
from llm.planning.step_forecast import Kind, StepForecast, measure
from llm.train.engine import TorchEngine
from llm.train.optimizer import build_optimizer
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig, load_config
from vlm.model.batch import VlmBatch
from vlm.model.forward import VlmModel
from vlm.model.meta_model import meta_model
from vlm.model.runs import open_model
from vlm.plan import device
from vlm.plan.advice import Change, changes
from vlm.plan.device import GIB, Device, find_device
from vlm.plan.dry_run import duration, packs_of_run
from vlm.plan.memory_report import forecast_run
from vlm.plan.plan import plan
from vlm.plan.worst_pack import Pack, image_pack, packs_a_step, text_pack

# Tokens of a record whose attention uses SDPA, several blocks of plain products, and one block.
LONGEST, LONG, SHORT = 800, 320, 60


def text(llm: Path, **changes: Any) -> TextRunConfig:
    """A small text run."""
    sections: dict[str, Any] = {
        "name": "tiny",
        "model": {"llm": str(llm)},
        "data": {"sources": [{"path": "not-there.json"}], "max_length": LONG},
        "tune": {"kind": "lora", "rank": 4},
        "train": {"batch": 8, "pack_tokens": 2 * LONG, "dtype": "bf16"},
    }
    for key, value in changes.items():
        sections[key] = sections[key] | value if isinstance(sections.get(key), dict) else value
    return TextRunConfig.model_validate(sections)


def vision(llm: Path, tower: Path, stage: str, **changes: Any) -> VlmRunConfig:
    """A small vision run whose data does not exist."""
    return recipe(llm, tower, Path("not-there.json"), Path("not-there"), stage, **changes)


Recipes = dict[str, RunConfig]


@pytest.fixture(scope="module")
def recipes(tiny_llm: Path, roomy_llm: Path, clip: Path, siglip: Path, cnn: Path) -> Recipes:
    """Each way to train, with tied and untied embeddings and several kinds of towers."""
    bf16 = {"dtype": "bf16"}
    return {
        "full fp32": text(roomy_llm, tune={"kind": "full"}, train={"dtype": "fp32"}),
        "full bf16, no embeddings": text(tiny_llm, tune={"kind": "full", "embeddings": False}),
        "full bf16, 8 bit": text(roomy_llm, tune={"kind": "full"}, optim={"name": "adamw8bit"}),
        "full bf16, few tokens": text(
            roomy_llm, tune={"kind": "full"}, data={"max_length": 8}, train={"pack_tokens": 8}
        ),  # gradients take more memory than activations
        "lora": text(tiny_llm, data={"max_length": SHORT}),
        "lora, fused attention": text(tiny_llm, data={"max_length": LONGEST}, train={"pack_tokens": 2 * LONGEST}),
        "lora, dropout, some targets": text(tiny_llm, tune={"dropout": 0.1, "targets": ["q_proj", "down_proj"]}),
        "lora, recompute": text(tiny_llm, train={"recompute": True}),
        "lora, selective": text(tiny_llm, train={"recompute": "selective"}),
        "qlora": text(roomy_llm, tune={"kind": "qlora"}),
        "pretrain": vision(tiny_llm, clip, "pretrain", train=bf16),
        "pretrain, four bit": vision(roomy_llm, cnn, "pretrain", tune={"four_bit": True}, train=bf16),
        "finetune, lora": vision(
            tiny_llm, siglip, "finetune", tune={"kind": "lora", "rank": 4, "tower": "lora", "tower_dropout": 0}
        ),
        "finetune, full": vision(tiny_llm, clip, "finetune", tune={"kind": "full", "tower": "full"}, train=bf16),
    }


NAMES = (
    *("full fp32", "full bf16, no embeddings", "full bf16, 8 bit", "full bf16, few tokens"),
    *("lora", "lora, fused attention", "lora, dropout, some targets", "lora, recompute", "lora, selective", "qlora"),
    *("pretrain", "pretrain, four bit", "finetune, lora", "finetune, full"),
)


def pack_of(config: RunConfig, model: nn.Module) -> Pack:
    """The recipe's largest pack; a third of its text tokens are targets."""
    if isinstance(model, VlmModel):
        pack = image_pack(config, model.vision.tower, 1 / 3)
        assert isinstance(pack.batch, VlmBatch)
        pixels = torch.rand(pack.batch.pixel_values.shape)  # the forecast's are never written and may be NaN
        return replace(pack, batch=replace(pack.batch, pixel_values=pixels))
    return text_pack(config, 1 / 3)


def planned(config: RunConfig, packs: int) -> StepForecast:
    """The forecast of a step on a CPU."""
    meta = meta_model(config)
    pack = pack_of(config, meta.model)
    return measure(meta, config.optim, pack.batch, pack.text, packs, "cpu")


def stored(module: nn.Module) -> list[torch.Tensor]:
    """The tensors of a built module, with the scales and tables of 4-bit weights."""
    tensors = [*module.parameters(), *module.buffers()]
    for parameter in module.parameters():
        if type(parameter).__name__ == "Params4bit":
            state: Any = parameter
            tensors += [state.quant_state.absmax, state.quant_state.code, state.quant_state.offset]
            tensors += [state.quant_state.state2.absmax, state.quant_state.state2.code]
    return tensors


def bytes_of(tensors: list[torch.Tensor]) -> int:
    """Bytes of the tensors' storages, each counted once."""
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def bytes_of_meta(tensors: list[torch.Tensor]) -> int:
    """Bytes of tensors that share no storage."""
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("name", NAMES)
def test_weights_adapters_and_optimizer_states_equal_those_of_a_built_model(recipes: Recipes, name: str) -> None:
    config = recipes[name]
    opened = open_model(config)
    meta = meta_model(config)
    tracker = AllocationTracker()
    with tracker:
        tracker.own([*meta.model.parameters(), *meta.model.buffers()], "all")
    tables = 4 * (16 + 256) * len([m for m in meta.model.modules() if type(m).__name__ == "Linear4bit"])
    surplus = tracker.live["all"] - bytes_of(stored(opened.model))
    assert 0 <= surplus <= tables, "only 4-bit tables, which real layers may share, are counted twice"
    assert {group.name: [p.numel() for p in group.parameters] for group in meta.groups} == {
        group.name: [p.numel() for p in group.parameters] for group in opened.groups
    }
    assert all(p.dtype == q.dtype for a, b in zip(meta.groups, opened.groups, strict=True)
               for p, q in zip(a.parameters, b.parameters, strict=True))  # fmt: skip

    trained = [parameter for group in opened.groups for parameter in group.parameters]
    optimizer = build_optimizer(opened.groups, config.optim)
    pack = pack_of(config, opened.model)
    torch.autograd.backward(opened.model(pack.batch))
    unreached = [parameter for parameter in trained if parameter.grad is None]
    assert bool(unreached) == (name in ("finetune, lora", "finetune, full")), "a tower's last layer is not used"
    optimizer.step(1.0)
    state = optimizer.state_dict()
    masters = sum(tensor.nbytes for key, tensor in state.items() if key.endswith(".master"))
    moments = sum(tensor.nbytes for key, tensor in state.items() if not key.endswith((".master", ".step")))
    parts = planned(config, 1).parts
    adapters = sum(t.nbytes for _, layer in lora_layers(opened.model) for t in layer.factors().values())
    assert parts.get("masters", 0) == masters
    assert parts["moments"] == moments
    assert parts.get("adapters", 0) == adapters


@pytest.mark.parametrize("packs", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_peak_of_a_forecast_is_that_of_a_real_step(recipes: Recipes, name: str, packs: int) -> None:
    """The reference: the same tracker on built weights, real kernels and the real optimizer."""
    config = recipes[name]
    opened = open_model(config)
    pack = pack_of(config, opened.model)
    engine = TorchEngine(opened.model, build_optimizer(opened.groups, config.optim), config.optim.clip)
    opened.model.train()

    def step() -> None:
        for _ in range(packs):
            engine.backward(opened.model(pack.batch) / len(pack.text.targets))
        engine.step(1.0)

    step()
    assert len(engine.optimizer.inner.state) > 0, "the first step allocated the moments"
    pack = pack_of(config, opened.model)  # each step has a new pack, and attention builds its index tables in it
    tracker = AllocationTracker()
    with tracker:
        tracker.own(stored(opened.model), "weights")
        tracker.own(engine.optimizer.low_masters, "masters")
        states = engine.optimizer.inner.state.values()
        tracker.own([t for state in states for t in state.values() if isinstance(t, torch.Tensor)], "moments")
        if isinstance(pack.batch, VlmBatch):
            tracker.own([pack.batch.pixel_values], "batch")
        step()
    found = planned(config, packs)
    assert found.total == pytest.approx(tracker.peak, rel=0.03)


@pytest.mark.parametrize("name", ["full bf16, few tokens", "lora, recompute", "pretrain, four bit", "finetune, lora"])
def test_remembered_layouts_change_no_forecast(recipes: Recipes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference: every operation is run."""
    found = planned(recipes[name], 2)
    monkeypatch.setattr(LayoutMemo, "run", lambda _, func, args, options: func(*args, **options))
    assert planned(recipes[name], 2) == found


# The shapes of known models ------------------------------------------------------------------------------------------

WIDTHS = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
          "vocab_size": 92544, "tie_word_embeddings": False}  # fmt: skip
CLIP_L = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                          image_size=336, patch_size=14)  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that hold config.json alone: a Llama of InternLM2.5-7B's shape, and CLIP ViT-L/14-336.

    `short` is the same LLM with 2 of its 32 layers: a forecast of all 32 takes some 10 s.
    """
    folder = tmp_path_factory.mktemp("large")
    LlamaConfig(**WIDTHS, num_hidden_layers=32).save_pretrained(folder / "llm")
    LlamaConfig(**WIDTHS, num_hidden_layers=2).save_pretrained(folder / "short")
    CLIP_L.save_pretrained(folder / "tower")
    assert {file.name for file in folder.rglob("*.*")} == {"config.json"}
    return folder


def qlora(llm: Path) -> TextRunConfig:
    """A QLoRA run of 7B scale."""
    train = {"pack_tokens": 2048, "batch": 64, "recompute": False}
    return text(llm, data={"max_length": 2048}, tune={"kind": "qlora", "rank": 64}, train=train)


def test_a_7b_models_weights_take_what_its_shape_gives(large: Path) -> None:
    linears = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    dense = 2 * 92544 * 4096 + 65 * 4096
    meta = meta_model(qlora(large / "llm"))
    adapters = [parameter for group in meta.groups for parameter in group.parameters]
    four_bit = linears // 2 + linears // 64 + linears // 64 // 256 * 4
    small = 2 * 64 * 4 + 7 * 32 * 4 * (16 + 256 + 1)  # rotary frequencies and the tables of 4-bit layers
    everything = bytes_of_meta([*meta.model.parameters(), *meta.model.buffers()])
    assert everything == four_bit + 2 * dense + small + bytes_of_meta(adapters)
    each = 64 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert bytes_of_meta(adapters) == 2 * 32 * each


def test_advice_for_qlora_fits(large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = qlora(large / "short")
    plan(config, tmp_path, "3GiB", 0.0, 0.5)
    output = capsys.readouterr().out
    assert "does not fit a card of 3.00 GiB" in output and "time         unknown" in output
    line = next(line for line in output.splitlines() if line.endswith(": train.recompute=true"))
    again = forecast_run(Change({"train.recompute": True}).of(config), (), "card", 0.5)
    assert f"{again.total / GIB:.2f} GiB" in line, "advice prints the forecast of the changed recipe"
    fitting = next(line for line in output.splitlines() if "GiB, fits: " in line and "train.pack_tokens=" in line)
    values = dict(word.split("=") for word in fitting.partition("fits: ")[2].split())
    tokens = int(values.pop("train.pack_tokens"))
    assert values == {"data.max_length": str(tokens)} and tokens < 2048
    shorter = Change({"train.pack_tokens": tokens, "data.max_length": tokens})
    assert forecast_run(shorter.of(config), (), "card", 0.5).total <= 3 * GIB
    longer = Change({"train.pack_tokens": tokens + 256, "data.max_length": tokens + 256})
    assert forecast_run(longer.of(config), (), "card", 0.5).total > 3 * GIB, "no larger pack fits"


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_both_stages_of_a_llava_are_planned(
    large: Path, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tune = {"four_bit": True} if stage == "pretrain" else {"kind": "qlora", "rank": 64, "tower": "lora"}
    train = {"batch": 128, "pack_tokens": 4096, "pack_images": 6, "dtype": "bf16", "recompute": True}
    config = vision(large / "short", large / "tower", stage, data={"max_length": 2048}, tune=tune, train=train)
    plan(config, tmp_path, "20GiB", 100.0, 0.25)
    output = capsys.readouterr().out
    assert "20.00 GiB" in output and "s a step at 100.00 TFLOP/s, assumed" in output
    assert "GiB: fits" in output
    parts = ["weights", "tower", "projector", "masters", "moments"]
    assert [part for part in parts if f"\n  {part}" not in output] == []


# What the parts depend on --------------------------------------------------------------------------------------------


def test_lean_layers_save_less_for_backward(large: Path) -> None:
    config = text(large / "short")
    lean, plain = (forecast_run(Change({"train.lean": kind}).of(config), (), "cpu", 0.1) for kind in ("auto", "off"))
    assert lean.parts["activations"] < 0.6 * plain.parts["activations"]


def test_advice_to_recompute_leaves_lean_to_the_run(tiny_llm: Path) -> None:
    config = text(tiny_llm, train={"lean": "on"})
    advised = [change for change in changes(config) if "train.recompute" in change.values]
    assert [str(change) for change in advised] == [
        "train.recompute=selective train.lean=auto",
        "train.recompute=true train.lean=auto",
    ]
    assert [change.of(config).train.lean for change in advised] == ["auto", "auto"]


def attention_tables(config: TextRunConfig) -> int:
    """Bytes of attention's index tables of a pack, built once for all layers: they do not shrink with a tiny model."""
    shape = json.loads((Path(config.model.llm) / "config.json").read_text())
    query, key = (torch.empty(1, shape[f"num_{kind}_heads"], 1) for kind in ("attention", "key_value"))
    made = GatherIndex.of(text_pack(config, 0.1).text.attention, query, key, PLAIN)
    tables = [made.outputs, made.own_keys]
    tables += [table for group in made.groups for table in (group.queries, group.keys)]
    tables += [block.mask for group in made.groups for block in group.blocks]
    return sum(table.nbytes for table in tables)


def test_recomputation_and_targets_change_activations_and_work(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "llm.model.activation_checkpointing.NARROW", 8
    )  # the tiny model's products are all narrower than the limit
    config = text(tiny_llm)
    full, few = forecast_run(config, (), "cpu", 1.0), forecast_run(config, (), "cpu", 0.1)
    assert full.parts.get("head", 0) < 4 * 100, "no logits are allocated at the peak"
    assert full.flops > few.flops, "the head runs at target positions alone"
    recomputed = forecast_run(Change({"train.recompute": True}).of(config), (), "cpu", 0.1)
    assert recomputed.parts["activations"] < few.parts["activations"]
    plain = forecast_run(Change({"train.lean": "off"}).of(config), (), "cpu", 0.1)
    assert recomputed.flops == plain.flops, "recomputed work is counted once"
    assert few.flops < plain.flops, "the last layer's positions without a target are not computed"
    tables = attention_tables(config)
    assert few.parts["activations"] - tables < 0.6 * (plain.parts["activations"] - tables)
    selective = forecast_run(Change({"train.recompute": "selective"}).of(config), (), "cpu", 0.1)
    assert recomputed.total < selective.total < plain.total and selective.flops == plain.flops


def test_zero_3_allocates_all_logits_at_once(tiny_llm: Path) -> None:
    config = text(tiny_llm, parallel={"zero": 3})
    full, few = forecast_run(config, (), "cpu", 1.0), forecast_run(config, (), "cpu", 0.1)
    assert full.parts["head"] > 5 * few.parts["head"]


def test_a_card_and_a_cpu_use_their_own_chunk_sizes(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    chunks, vocabulary = heads.chunks, json.loads((tiny_llm / "config.json").read_text())["vocab_size"]

    def record(count: int, most: int) -> Iterator[slice]:
        seen.append(most)
        return chunks(count, most)

    monkeypatch.setattr(heads, "chunks", record)
    pairs: list[tuple[Kind, str]] = [("card", "cuda"), ("cpu", "cpu")]
    for kind, name in pairs:
        forecast_run(text(tiny_llm, train={"dtype": "bf16"}), (), kind, 1.0)
        assert seen[-2:] == [heads.CHUNK[name] // (2 * vocabulary), heads.WIDE[name] // (4 * vocabulary)]


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_operations_equal_a_count_by_hand(roomy_llm: Path, dtype: str) -> None:
    train = {"pack_tokens": 100, "dtype": dtype}
    config = text(roomy_llm, tune={"kind": "full"}, data={"max_length": 100}, train=train)
    linears = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    pairs = 100 * 101 // 2
    by_hand = 6 * 100 * (linears + 32 * 300) + 12 * pairs * 32 * 2
    assert forecast_run(config, (), "card", 1.0).flops == by_hand


def test_a_step_has_as_many_packs_as_its_longest_records_fill(tiny_llm: Path) -> None:
    config = text(tiny_llm, data={"max_length": 100}, train={"batch": 5, "pack_tokens": 200})
    assert packs_a_step(config) == 3
    small = text(tiny_llm, data={"max_length": 100}, train={"batch": 1, "pack_tokens": 200})
    assert packs_a_step(small) == 1
    assert text_pack(small, 1.0).text.tokens == 100, "one record does not fill the pack"


def test_after_an_earlier_qlora_run_linears_are_dense(roomy_llm: Path) -> None:
    config = text(roomy_llm, tune={"kind": "qlora"})
    fresh, later = forecast_run(config, (), "cpu", 1.0), forecast_run(config, [(config, Path("unused"))], "cpu", 1.0)
    layers: list[Any] = [inner for inner in meta_model(config).model.modules() if type(inner).__name__ == "Linear4bit"]
    four_bit = bytes_of_meta([tensor for inner in layers for tensor in (inner.weight, *inner.buffers())])
    dense = 2 * sum(inner.in_features * inner.out_features for inner in layers)
    assert len(layers) == 14 and later.parts["weights"] - fresh.parts["weights"] == dense - four_bit


def test_each_training_step_of_a_pipeline_is_planned(
    tiny_llm: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("pretrain", "finetune"):
        config = recipe(tiny_llm, clip, Path("no.json"), tmp_path / stage, stage)
        values = config.model_dump(mode="json", by_alias=True)
        values["from"] = str(tmp_path / "pretrain") if stage == "finetune" else ""
        (tmp_path / f"{stage}.yaml").write_text(json.dumps(values))
    (tmp_path / "eval.yaml").write_text("name: e\nstage: eval\nrun: runs/x\n")
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text("name: all\nsteps: [pretrain.yaml, finetune.yaml, eval.yaml]\n")
    plan(load_config(pipeline), pipeline, "1GB", 0.0, 1.0)
    output = capsys.readouterr().out
    assert output.count("in all") == 2 and "does not exist" not in output
    finetune = tmp_path / "finetune.yaml"
    plan(load_config(finetune), finetune, "1GB", 0.0, 1.0)
    assert "does not exist: planned as if" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="trains nothing"):
        plan(load_config(tmp_path / "eval.yaml"), pipeline, "", 0.0, 1.0)


@pytest.mark.parametrize(
    ("device", "dtype", "why"),
    [
        ("1GB", "bf16", "a card of Ampere or later multiplies bf16"),
        ("cpu", "fp32", "this CPU has no bf16 products"),
        ("", "bf16", "Card X multiplies bf16"),
    ],
)
def test_dtype_auto_is_chosen_for_the_device(
    tiny_llm: Path, tmp_path: Path, device: str, dtype: str, why: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("vlm.plan.device.this_cpu", lambda: Hardware())
    monkeypatch.setattr("vlm.plan.device.this_machine", lambda: Hardware("Card X", card_bf16=True))
    output = []
    for wanted in ("auto", dtype):
        plan(text(tiny_llm, train={"dtype": wanted}), tmp_path, device, 1.0, 0.5)
        output.append(capsys.readouterr().out.splitlines())
    assert output[0][1].startswith(f"  dtype: {dtype} (auto: {why}")
    assert output[0][:1] + output[0][2:] == output[1], "the other lines are those of a recipe that names the dtype"


def test_a_slow_dtype_is_reported(
    tiny_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm.plan.device.this_cpu", lambda: Hardware())
    plan(text(tiny_llm), tmp_path, "cpu", 1.0, 0.5)
    assert "dtype: bf16 (the recipe's), but this CPU has no bf16 products" in capsys.readouterr().out


# What cannot be planned ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "size"),
    [
        *(("8GiB", 8 * GIB), ("24GB", 24 * 10**9), ("1.5 gib", 3 * GIB // 2), ("24", 24 * GIB), (" 24 ", 24 * GIB)),
        *(
            ("23.5", 47 * GIB // 2),
            ("23,5", 47 * GIB // 2),
            ("80G", 80 * GIB),
            ("40gi", 40 * GIB),
            ("24000MB", 24 * 10**9),
        ),
    ],
)
def test_device_reads_a_cards_memory(written: str, size: int) -> None:
    assert find_device(written) == Device("card", size)


def test_device_reads_cpu_and_refuses_other_text() -> None:
    assert find_device("cpu").kind == "cpu" and find_device("cpu").bytes > GIB
    assert find_device("CPU") == find_device("cpu")
    for text in ("eight", "24 apples", "A100", "-24", "24GiB extra"):
        with pytest.raises(ConfigError, match=f"--device: found '{text}'; write a card's memory in GiB, such as 24 or"):
            find_device(text)


@pytest.mark.parametrize(("written", "found"), [("4090", "4,090 GiB"), ("0", "0 GiB"), ("24000000000", "2.4e+10 GiB")])
def test_device_refuses_a_memory_that_no_card_has(written: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {written}: no card has {re.escape(found)}; write"):
        find_device(written)


def test_device_cuda_needs_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device gpu: this machine has no card"):
        find_device("gpu")


def test_any_kind_of_card_is_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own memory; a kind that is named and is another one is refused."""
    card = ModuleType("torch.npu")
    vars(card)["get_device_properties"] = lambda index: SimpleNamespace(total_memory=64 * 2**30)
    monkeypatch.setattr(device, "accelerator", lambda: Card("npu", card))
    assert [find_device(name) for name in ("", "gpu", "npu", "npu:0")] == [Device("card", 64 * 2**30)] * 4
    with pytest.raises(ConfigError, match="--device cuda: this machine has no card"):
        find_device("cuda")


def test_dynamic_rotary_frequencies_are_planned(tmp_path: Path) -> None:
    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    rope = {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}
    for name, rotary in (("plain", None), ("dynamic", rope)):
        LlamaConfig(**settings, vocab_size=100, rope_parameters=rotary).save_pretrained(tmp_path / name)
    plain, dynamic = (forecast_run(text(tmp_path / name), (), "cpu", 1.0) for name in ("plain", "dynamic"))
    assert plain == dynamic


def test_a_pack_without_room_for_an_image_is_refused(tiny_llm: Path, clip: Path) -> None:
    config = vision(tiny_llm, clip, "pretrain", train={"pack_tokens": 16})
    with pytest.raises(ConfigError, match="train.pack_tokens: 16 leaves no room besides an image's 16 tokens"):
        forecast_run(config, (), "cpu", 1.0)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no config.json in it"):
        forecast_run(text(tmp_path), (), "cpu", 1.0)


# The complete run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(50, "50 seconds"), (150, "2.5 minutes"), (3600, "60 minutes"), (12240, "3.4 hours"), (180000, "2.1 days")],
)
def test_a_duration_is_in_a_unit_that_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_packs_of_a_run_are_counted_by_length() -> None:
    plan = PackPlan(steps=tuple((np.array([record]),) for record in (0, 1, 2, 3)), world=1)
    lengths = np.array([10, 20, 5, 5])
    data = SimpleNamespace(train=SimpleNamespace(lengths=lengths), schedule=Schedule((plan, plan), total=6))
    assert packs_of_run(data) == (40 + 30) / 20, "two epochs, of the second only two steps"
