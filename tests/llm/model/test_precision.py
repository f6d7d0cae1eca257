"""`train.dtype: auto`: the dtype on each kind of hardware; a resumed run continues in its own."""

import multiprocessing
import os
import platform
from pathlib import Path
from typing import Any

import pytest
import torch

from llm.config.dtype_variable import VARIABLE, Dtype
from llm.config.schema import TextRunConfig
from llm.config.yaml_loader import load_yaml, validate
from llm.distributed import process_group
from llm.errors import RunError
from llm.files.saved_checkpoints import list_checkpoints
from llm.model.precision import (
    ANY_CARD,
    Hardware,
    choose_dtype,
    dtype_of,
    this_cpu,
    this_machine,
    with_dtype,
)
from llm.model.quantization import is_four_bit
from llm.train.assembly import resolve_dtype
from llm.train.checkpoint_state import read_state, read_weights
from llm.train.metrics import read_metrics
from llm.train.run_folder import begun_dtype
from tests.llm.text_runs import six_steps, unfinished
from vlm.app.launch import free_port
from vlm.model.runs import open_run, train
from vlm.plan.device import find_hardware
from vlm.plan.dry_run import dry_run

OLD_CPU = Hardware()
OLD_CARD = Hardware("Tesla T4", amx=True)  # a GPU computes: what its CPU can do does not count
SLOW = "this CPU has no bf16 products, AVX512_BF16 or AMX; fp32 is many times faster here"


def in_auto(config: TextRunConfig, **train_keys: Any) -> TextRunConfig:
    """The same recipe with dtype auto."""
    return config.model_copy(update={"train": config.train.model_copy(update={"dtype": "auto"} | train_keys)})


@pytest.fixture
def recipe(tiny_llama: Path, tmp_path: Path) -> TextRunConfig:
    return six_steps(tiny_llama, tmp_path)


def dtype_in(run: Path) -> str:
    """The dtype that the run folder's recipe names."""
    return validate(load_yaml(run / "config.yaml"), TextRunConfig).train.dtype


# The choice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hardware", "line"),
    [
        (Hardware("NVIDIA H100", card_bf16=True), "bf16 (auto: NVIDIA H100 multiplies bf16)"),
        (OLD_CARD, "fp32 (auto: Tesla T4 has no bf16 products of its own)"),
        (ANY_CARD, "bf16 (auto: a card of Ampere or later multiplies bf16)"),
        (Hardware(avx512_bf16=True), "bf16 (auto: this CPU multiplies bf16, by AVX512_BF16)"),
        (Hardware(avx512_bf16=True, amx=True), "bf16 (auto: this CPU multiplies bf16, by AMX)"),
        (OLD_CPU, f"fp32 (auto: {SLOW})"),
        (Hardware(machine="AMD64", onednn_bf16=True), f"fp32 (auto: {SLOW})"),
        (Hardware(machine="aarch64", onednn_bf16=True), "bf16 (auto: this aarch64 CPU multiplies bf16)"),
        (Hardware(machine="arm64"), "fp32 (auto: this arm64 CPU has no bf16 products)"),
        (Hardware(amx=True, asked="fp32"), "fp32 (auto: EYEGRAFT_DTYPE asks for it)"),
        (Hardware("Tesla T4", asked="bf16"), "bf16 (auto: EYEGRAFT_DTYPE asks for it)"),
    ],
)
def test_auto_is_the_dtype_that_the_hardware_multiplies(recipe: TextRunConfig, hardware: Hardware, line: str) -> None:
    config, said = choose_dtype(in_auto(recipe), hardware)
    assert said == f"dtype: {line}"
    assert config == with_dtype(recipe, hardware.auto_dtype) and config.train.dtype == line[:4]


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_the_variable_comes_before_the_hardware(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, asked)
    found = {this_machine(), this_cpu(), find_hardware("cpu"), find_hardware("24GiB"), find_hardware("")}
    assert {one.auto_dtype for one in found} == {asked}
    monkeypatch.delenv(VARIABLE)
    assert this_machine().asked is None and find_hardware("24GiB") == ANY_CARD


def test_a_recipe_comes_before_the_variable(recipe: TextRunConfig) -> None:
    """And what is slow is said of the hardware."""
    wished = Hardware(asked="fp32")
    expected = f"dtype: bf16 (the recipe's), but {SLOW}: set train.dtype: auto"
    assert choose_dtype(with_dtype(recipe, "bf16"), wished) == (with_dtype(recipe, "bf16"), expected)
    assert choose_dtype(in_auto(recipe), Hardware(amx=True, asked="fp32"), "bf16")[0].train.dtype == "bf16", (
        "it goes on"
    )


def test_a_named_dtype_is_used_and_a_slow_one_logged(recipe: TextRunConfig) -> None:
    bf16, fp32 = with_dtype(recipe, "bf16"), with_dtype(recipe, "fp32")
    assert choose_dtype(bf16, OLD_CPU) == (bf16, f"dtype: bf16 (the recipe's), but {SLOW}: set train.dtype: auto")
    assert choose_dtype(bf16, OLD_CARD)[1].startswith("dtype: bf16 (the recipe's), but Tesla T4 has no bf16 products")
    for config, hardware in ((bf16, ANY_CARD), (bf16, Hardware(amx=True)), (fp32, OLD_CPU), (fp32, ANY_CARD)):
        assert choose_dtype(config, hardware) == (config, "")
        assert choose_dtype(config, hardware, "bf16")[0] == config, "another run's dtype does not overrule the recipe's"


@pytest.mark.parametrize("hardware", [OLD_CPU, Hardware(amx=True)])
@pytest.mark.parametrize("begun", ["bf16", "fp32"])
def test_under_auto_a_run_continues_in_its_dtype(recipe: TextRunConfig, hardware: Hardware, begun: Dtype) -> None:
    config, line = choose_dtype(in_auto(recipe), hardware, begun)
    assert config == with_dtype(recipe, begun)
    assert line.startswith(f"dtype: {begun} (auto: this run began with it)")
    assert ("choose another `out` to start again in fp32" in line) == (begun == "bf16" and not hardware.has_bf16)


def test_auto_follows_this_machine(recipe: TextRunConfig) -> None:
    cpu = this_cpu()
    assert cpu.machine == platform.machine() and not cpu.card
    assert bool(this_machine().card) == torch.cuda.is_available()
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if cpu.machine == "x86_64" and flags:  # the kernel's word beside torch's
        assert cpu.has_bf16 == ("avx512_bf16" in flags or "amx_tile" in flags)
    expected = torch.bfloat16 if this_machine().has_bf16 else torch.float32
    assert dtype_of(in_auto(recipe)) == expected
    assert [dtype_of(with_dtype(recipe, name)) for name in ("bf16", "fp32")] == [torch.bfloat16, torch.float32]


# Whole runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("natural", [OLD_CPU, Hardware(amx=True)])
def test_the_run_folder_names_the_resolved_dtype(
    recipe: TextRunConfig, natural: Hardware, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("llm.train.assembly.this_machine", lambda: natural)
    config = in_auto(recipe, max_steps=2)
    run = train(config, Path.cwd())
    assert capsys.readouterr().out.startswith(f"dtype: {natural.auto_dtype} (auto: this CPU ")
    assert dtype_in(run) == natural.auto_dtype
    assert read_state(list_checkpoints(run)[-1])["recipe"]["train"]["dtype"] == natural.auto_dtype
    weights = {tensor.dtype for tensor in read_weights(list_checkpoints(run)[-1]).values()}
    assert weights == {dtype_of(with_dtype(config, natural.auto_dtype))}
    assert {parameter.dtype for parameter in open_run(run).model.parameters()} == weights
    monkeypatch.setattr(
        "llm.train.assembly.this_machine", lambda: OLD_CARD if natural.has_bf16 else ANY_CARD
    )  # another machine
    assert train(config, Path.cwd()) == run
    assert f"{run}: finished at step 2; nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("begun", ["bf16", "fp32"])
def test_a_run_resumed_under_auto_continues_in_its_dtype_on_any_machine(
    recipe: TextRunConfig, begun: Dtype, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Hardware(amx=begun == "fp32")
    assert other.auto_dtype != begun, "left to itself this machine would take the other"
    monkeypatch.setattr("llm.train.assembly.this_machine", lambda: other)
    run = unfinished(with_dtype(recipe, begun))
    expected = [row["loss"] for row in read_metrics(run, "train")]
    assert begun_dtype(run, TextRunConfig) == begun
    capsys.readouterr()
    train(in_auto(recipe), Path.cwd())
    said = capsys.readouterr().out
    assert f"dtype: {begun} (auto: this run began with it)" in said and "going on after step 4" in said
    assert dtype_in(run) == begun
    assert [row["loss"] for row in read_metrics(run, "train")] == expected and len(expected) == 6


def decide(config: TextRunConfig, ranks: dict[str, str], out: Path) -> None:
    """In one of several processes: its own dtype and the resolved one, on two machines in turn."""
    os.environ |= ranks
    with pytest.MonkeyPatch.context() as patch, process_group() as own:
        machines = [Hardware(amx=own.first), Hardware(amx=not own.first)]
        found = []
        for machine in machines:
            patch.setattr("llm.train.assembly.this_machine", lambda machine=machine: machine)
            found.append(resolve_dtype(config).train.dtype)
        alone = "+".join(machine.auto_dtype for machine in machines)
        out.with_suffix(f".{own.rank}").write_text(f"{alone} {'+'.join(found)}")


def test_the_first_of_several_processes_decides(
    recipe: TextRunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines of different kinds: ranks that disagreed would reduce tensors of different dtypes.

    The processes are forks of this one, which has imported everything; a card cannot be used in a fork.
    """
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out, address = tmp_path / "found", {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(
            target=decide, args=(in_auto(recipe), {"RANK": str(rank), "WORLD_SIZE": "2", **address}, out), daemon=True
        )
        for rank in (0, 1)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    alone, together = zip(*(out.with_suffix(f".{rank}").read_text().split() for rank in (0, 1)), strict=True)
    assert alone == ("bf16+fp32", "fp32+bf16"), "left to themselves they would have differed, both ways round"
    assert together == ("bf16+fp32", "bf16+fp32")


def test_a_dry_run_is_in_the_dtype_of_the_run(
    recipe: TextRunConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {}
    for hardware in (OLD_CPU, Hardware(amx=True)):
        monkeypatch.setattr("llm.train.assembly.this_machine", lambda hardware=hardware: hardware)
        monkeypatch.setattr("vlm.plan.dry_run.speed_of", lambda *_: None)
        dry_run(in_auto(recipe), Path("recipe.yaml"))
        first, *rest = capsys.readouterr().out.splitlines()
        assert first == f"dtype: {hardware.auto_dtype} (auto: {hardware.reason})"
        dry_run(with_dtype(recipe, hardware.auto_dtype), Path("recipe.yaml"))
        assert capsys.readouterr().out.splitlines() == rest
        said[hardware.auto_dtype] = rest
    assert said["fp32"] != said["bf16"]


def test_another_named_dtype_is_another_recipe(recipe: TextRunConfig) -> None:
    run = unfinished(with_dtype(recipe, "fp32"))
    with pytest.raises(RunError, match=r"(?s)was: dtype: fp32.*now: dtype: bf16"):
        train(with_dtype(recipe, "bf16"), Path.cwd())
    assert dtype_in(run) == "fp32"


def test_a_folder_without_a_checkpoint_has_no_run_to_continue(recipe: TextRunConfig) -> None:
    """A slow bf16 run that is stopped in its first minutes and started again under auto gets the fast dtype."""
    run = train(with_dtype(recipe, "bf16"), Path.cwd())
    assert begun_dtype(run, TextRunConfig) == "bf16"
    for checkpoint in list_checkpoints(run):
        checkpoint.rename(run / checkpoint.name)
    assert begun_dtype(run, TextRunConfig) is None


def test_a_saved_recipe_that_cannot_be_read_is_ignored(recipe: TextRunConfig) -> None:
    run = unfinished(recipe)
    (run / "config.yaml").write_text("name: [")
    assert begun_dtype(run, TextRunConfig) is None
    with pytest.raises(RunError, match="holds a run of another recipe"):
        train(in_auto(recipe), Path.cwd())


def test_four_bit_weights_compute_in_fp32_too(recipe: TextRunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.train.assembly.this_machine", lambda: OLD_CPU)
    qlora = recipe.tune.model_copy(update={"kind": "qlora"})
    optim = recipe.optim.model_copy(update={"lr": 1e-2})
    config = in_auto(recipe, epochs=4.0).model_copy(update={"tune": qlora, "optim": optim})
    run = train(config, Path.cwd())
    losses = [row["loss"] for row in read_metrics(run, "train")]
    assert len(losses) == 12 and losses[-1] < 0.95 * losses[0]
    model = open_run(run).model
    layers: list[Any] = [layer for layer in model.modules() if is_four_bit(layer)]
    assert layers and {layer.compute_dtype for layer in layers} == {torch.float32}
    assert {p.dtype for p in model.parameters() if p.is_floating_point()} == {torch.float32}
