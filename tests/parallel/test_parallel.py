"""The same losses with one process, DDP and ZeRO, and after a resume with another number of processes.

All runs of several processes happen in one launched group of two; the references in this process.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.data.loader import OptimizerStep, plan_run
from llm.files.saved_checkpoints import list_checkpoints
from llm.train import loop
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from llm.train.run_data import read_run_data
from tests.parallel.worker import run_config
from tests.vlm.ready.test_training import recipe as ready_config
from vlm.app.launch import launch
from vlm.evaluate.train_run import train
from vlm.model.run_recipe import read_run_config
from vlm.model.runs import open_model, open_run, parts_of

Recipe = dict[str, Any]
SHARED = {"ddp": {}, "zero1": {"zero": 1}, "zero2": {"zero": 2}, "zero3": {"zero": 3}}
FP32, QUANTISED = 1e-6, 1e-4
COUNT = 36
MIXED_STEPS = 11  # an epoch


def text_recipe(llm: Path, rows: Path, kind: str, **train: Any) -> Recipe:
    """Nine steps on conversations of very different lengths."""
    return {
        "stage": "sft",
        "model": {"llm": str(llm)},
        "data": {"sources": [{"path": str(rows)}], "max_length": 200, "template": "chatml", "validation": 0.1},
        "tune": {"kind": kind, "rank": 4, "alpha": 8},
        "optim": {"lr": 1e-2 if kind != "full" else 1e-3},
        "train": {"batch": 8, "dtype": "fp32", "save_every": 3, "keep": 9, "log_every": 1, "max_steps": 9, "epochs": 3}
        | {"pack_tokens": 300}
        | train,
    }


def vision_recipe(llm: Path, tower: Path, records: Path, stage: str, tune: Recipe, **data: Any) -> Recipe:
    """Six steps on records with and without images."""
    return {
        "stage": stage,
        "model": {"llm": str(llm), "tower": str(tower), "image_mode": "resize"},
        "data": {"sources": [{"path": str(records)}], "template": "chatml", "max_length": 200} | data,
        "tune": tune,
        "optim": {"lr": 1e-3},
        "train": {"batch": 6, "pack_tokens": 150, "dtype": "fp32", "log_every": 1, "save_every": 0, "epochs": 2},
    }


def ready_recipe(folder: Path, model: Path, tune: Recipe) -> Recipe:
    """Steps of two or three packs, of which some have images and some have none."""
    folder.mkdir()
    probe = {"prompt": "What is number 2?", "image": str(folder / "0.png"), "max_new_tokens": 3}
    train = {"epochs": 4, "pack_tokens": 400, "save_every": 0, "probes": [probe]}
    return ready_config(folder, model, tune=tune, train=train, optim={"lr": 1e-3}).model_dump(
        by_alias=True, mode="json"
    )


class Runs:
    """Recipes by name, trained once in this process or in a group of two, and their figures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared: list[Recipe] = []

    def alone(self, name: str, recipe: Recipe) -> None:
        """Train in this process."""
        train(run_config(self._placed(name, recipe)), Path.cwd(), anyway=True)

    def together(self, name: str, recipe: Recipe, parallel: Recipe | None = None) -> None:
        """Add to the recipes that the group trains."""
        self.shared.append(self._placed(name, recipe) | {"parallel": parallel or {}})

    def launch(self) -> None:
        """Train the recipes added by `together` in two processes."""
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps(self.shared))
        start = "import gc; gc.disable(); from tests.parallel.worker import main; main()"
        assert launch([sys.executable, "-c", start, str(plan)], 2) == 0

    def half_done(self, name: str, source: str, step: int = 3) -> None:
        """A copy of a run as it was after a step."""
        shutil.copytree(self.folder / source, self.folder / name)
        for checkpoint in list_checkpoints(self.folder / name):
            if checkpoint.name > f"step-{step:06d}":
                shutil.rmtree(checkpoint)

    def losses(self, name: str) -> torch.Tensor:
        """Training and validation losses, in order."""
        rows = [row for row in read_metrics(self.folder / name) if row["kind"] in ("train", "validation")]
        return torch.tensor([row["loss"] for row in rows], dtype=torch.float64)

    def norms(self, name: str) -> torch.Tensor:
        """Gradient norms before clipping."""
        return torch.tensor(
            [row["grad_norm"] for row in read_metrics(self.folder / name, "train")], dtype=torch.float64
        )

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """The final weights."""
        return read_weights(list_checkpoints(self.folder / name)[-1])

    def _placed(self, name: str, recipe: Recipe) -> Recipe:
        return recipe | {"name": name, "out": str(self.folder / name)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations with answers of one to thirty words; a step of eight has a tail of one, so a rank of two idles."""
    file = tmp_path_factory.mktemp("rows") / "chat.jsonl"
    talks = [
        [{"role": "user", "content": f"What {n}?"}, {"role": "assistant", "content": f"{'fox ' * (n * 7 % 31)}{n}"}]
        for n in range(COUNT)
    ]
    file.write_text("\n".join(json.dumps({"messages": talk}) for talk in talks))
    return file


@pytest.fixture(scope="module")
def runs(
    tiny_llama: Path,
    tiny_llm: Path,
    clip: Path,
    records: Path,
    rows: Path,
    family: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runs]:
    """All recipes, trained once."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    lora = {"kind": "lora", "rank": 4, "alpha": 8}
    whole = {"kind": "full", "tower": "full"}
    kinds = {
        "text-lora": text_recipe(tiny_llama, rows, "lora"),
        "text-full": text_recipe(tiny_llama, rows, "full"),
        "vision-pretrain": vision_recipe(tiny_llm, clip, records, "pretrain", {}),
        "vision-lora": vision_recipe(tiny_llm, clip, records, "finetune", lora),
        "vision-full": vision_recipe(tiny_llm, clip, records, "finetune", whole, cache_features="off"),
    }
    for name, (model, tune) in READY.items():
        kinds[name] = ready_recipe(runs.folder / f"{name}-data", family(model), tune)
    for name, recipe in kinds.items():
        if name in ASKED:
            recipe["train"]["evaluate"] = {"every": 3, "files": write_questions(rows, records, name), "limit": 7}
        runs.alone(name, recipe)
        for how, parallel in SHARED.items():
            runs.together(f"{name}-{how}", recipe, parallel)
    runs.together("vision-uncached-zero3", kinds["vision-lora"] | _data(kinds["vision-lora"], "off"), {"zero": 3})

    for packs, budget in ((1, 2000), (4, 150)):
        split = text_recipe(tiny_llama, rows, "lora", pack_tokens=budget, save_every=0)
        for how in ("ddp", "zero2", "zero3"):
            runs.together(f"text-lora-{how}-packs{packs}", split, SHARED[how])

    quantised = text_recipe(tiny_llama, rows, "qlora", save_every=0)
    runs.alone("text-qlora", quantised)
    for how in ("zero2", "zero3"):
        runs.together(f"text-qlora-{how}", quantised, SHARED[how])

    for how in ("ddp", "zero2"):
        runs.together(f"text-lora-sequence-{how}", kinds["text-lora"], SHARED[how] | {"sequence": 2})

    light = text_recipe(tiny_llama, rows, "lora", recompute=True, save_every=0)
    runs.together("text-recompute-zero3", light, {"zero": 3})
    rounded = text_recipe(tiny_llama, rows, "lora", dtype="bf16", probes=[{"prompt": "What 3?", "max_new_tokens": 4}])
    runs.alone("text-bf16", rounded)
    for how in SHARED:
        runs.together(f"text-bf16-{how}", rounded, SHARED[how])
    runs.together("text-full-offload", kinds["text-full"], {"zero": 3, "offload": "all"})

    for kind, tune in (("vision-lora", lora), ("vision-full", whole)):
        mixed = vision_recipe(tiny_llm, clip, write_mixed(records), "finetune", tune, cache_features="off")
        mixed["train"] |= {"max_steps": MIXED_STEPS, "epochs": 1, "log_every": 10}
        runs.together(f"{kind}-mixed", mixed, {"zero": 3})
    for how in SHARED:
        runs.half_done(f"one-then-{how}", "text-full")
        runs.together(f"one-then-{how}", kinds["text-full"], SHARED[how])
    runs.half_done("bf16-one-then-zero2", "text-bf16")
    runs.together("bf16-one-then-zero2", rounded, SHARED["zero2"])
    for how in SHARED:
        for value in ("inf", "nan"):
            runs.together(f"spoilt-{how}-{value}", kinds["text-full"] | {"planted": value}, SHARED[how])
    runs.launch()
    for how in SHARED:
        runs.half_done(f"{how}-then-one", f"text-full-{how}")
        runs.alone(f"{how}-then-one", kinds["text-full"])
    yield runs


def write_questions(rows: Path, records: Path, name: str) -> list[str]:
    """Letters and texts for a text run, questions about images for a vision run, letters for a ready model."""
    if name.startswith("vision"):
        return [str(records.with_name("questions.json"))]
    letters, own = rows.with_name("letters.tsv"), rows.with_name("own.jsonl")
    lines = [f"{number}\tWhat {number}?\tfox\tdog\t{'AB'[number % 2]}" for number in range(9)]
    letters.write_text("\n".join(["index\tquestion\tA\tB\tanswer", *lines]) + "\n")
    own.write_text("".join(line + "\n" for line in rows.read_text().split("\n")[:5]))
    return [str(letters)] if name.startswith("ready") else [str(letters), str(own)]


def write_mixed(records: Path) -> Path:
    """Records with no image, one and three, in turns, so small that many packs have one kind only."""
    file = records.with_name("mixed.json")
    answer = {"from": "gpt", "value": "red and blue"}
    rows = [
        {"id": str(n), "conversations": [{"from": "human", "value": "<image>\n" * count + f"what {n}?"}, answer]}
        | ({"image": [f"{(n + each) % 16}.png" for each in range(count)]} if count else {})
        for n in range(61)
        for count in ((0, 1, 3)[n % 3],)
    ]
    file.write_text(json.dumps(rows))
    return file


def _data(recipe: Recipe, cache: str) -> Recipe:
    return {"data": recipe["data"] | {"cache_features": cache}}


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest relative difference."""
    assert len(one) == len(other) > 5
    return float(((one - other).abs() / one.abs()).max())


ASKED = ("text-lora", "vision-lora", "ready-lora")  # with `train.evaluate`
READY: dict[str, tuple[str, Recipe]] = {  # positions and features of their own; a parameter outside of all modules
    "ready-lora": ("qwen3_vl", {"kind": "lora", "rank": 4}),
    "ready-full": ("llava_next", {"kind": "full", "tower": "full"}),
}
KINDS = ("text-lora", "text-full", "vision-pretrain", "vision-lora", "vision-full", *READY)


@pytest.mark.parametrize("how", SHARED)
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one(runs: Runs, kind: str, how: str) -> None:
    assert difference(runs.losses(kind), runs.losses(f"{kind}-{how}")) < FP32
    assert difference(runs.norms(kind), runs.norms(f"{kind}-{how}")) < 1e-5
    one, two = runs.weights(kind), runs.weights(f"{kind}-{how}")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("how", SHARED)
@pytest.mark.parametrize("kind", ASKED)
def test_two_processes_score_as_one(runs: Runs, kind: str, how: str) -> None:
    """Each answers its part, or all where each has a part of the weights."""
    one, two = (read_metrics(runs.folder / name, "evaluation") for name in (kind, f"{kind}-{how}"))
    assert len(one) == len(two) >= 2
    for line, other in zip(one, two, strict=True):
        assert {key: line[key] for key in line if key != "time"} == {key: other[key] for key in other if key != "time"}


@pytest.mark.parametrize("kind", READY)
def test_ranks_had_different_numbers_of_images_in_these_runs(runs: Runs, kind: str) -> None:
    """Under ZeRO-3 each then computes blank images for those that it has less; without them the group hangs."""
    run = runs.folder / f"{kind}-zero3"
    opened = open_model(read_run_config(run))
    data = read_run_data(opened.config, parts_of(opened), run, Path.cwd())
    plan = plan_run(data.train, np.arange(len(data.train)), opened.config.train, opened.config.seed, world=2)
    counts = [
        tuple(int(data.train.image_counts[pack].sum()) for pack in pair)
        for step in plan.plans[0].steps
        for pair in zip(step[::2], step[1::2], strict=False)
    ]
    assert any(one != other for one, other in counts), counts


def test_a_rank_was_idle_in_these_runs(runs: Runs) -> None:
    """The last record of an epoch: with two processes, one computes it with its targets ignored."""
    facts = read_metrics(runs.folder / "text-lora-ddp", "plan")[0]
    assert (facts["records"] - facts["validation_records"]) % 8 == 1
    assert facts["steps"] == read_metrics(runs.folder / "text-lora", "plan")[0]["steps"] == 9


def test_cached_and_computed_features_give_the_same_losses_under_zero3(runs: Runs) -> None:
    assert difference(runs.losses("vision-lora"), runs.losses("vision-uncached-zero3")) < FP32


@pytest.mark.parametrize("how", ["ddp", "zero2", "zero3"])
@pytest.mark.parametrize("packs", [1, 4])
def test_losses_do_not_depend_on_the_packs_of_a_step(runs: Runs, packs: int, how: str) -> None:
    assert difference(runs.losses("text-lora"), runs.losses(f"text-lora-{how}-packs{packs}")) < FP32


@pytest.mark.parametrize("how", ["zero2", "zero3"])
def test_qlora_on_two_processes_equals_one(runs: Runs, how: str) -> None:
    assert difference(runs.losses("text-qlora"), runs.losses(f"text-qlora-{how}")) < QUANTISED
    assert difference(runs.losses("text-lora"), runs.losses("text-qlora")) > QUANTISED, "another base, other losses"


@pytest.mark.parametrize("how", ["ddp", "zero2"])
def test_sequence_parallelism_equals_one_process(runs: Runs, how: str) -> None:
    assert difference(runs.losses("text-lora"), runs.losses(f"text-lora-sequence-{how}")) < FP32
    assert difference(runs.norms("text-lora"), runs.norms(f"text-lora-sequence-{how}")) < 1e-5
    chat_model = open_run(runs.folder / f"text-lora-sequence-{how}").chat_model
    assert chat_model.answer(question("What 3?"), Sampling(max_new_tokens=4)), "it answers in one process"


def test_recomputation_does_not_change_losses_under_zero3(runs: Runs) -> None:
    assert difference(runs.losses("text-lora"), runs.losses("text-recompute-zero3")) < FP32


def test_offloading_does_not_change_losses(runs: Runs) -> None:
    assert difference(runs.losses("text-full"), runs.losses("text-full-offload")) < FP32


@pytest.mark.parametrize("how", SHARED)
def test_bf16_on_two_processes_is_close_to_one(runs: Runs, how: str) -> None:
    assert difference(runs.losses("text-bf16"), runs.losses(f"text-bf16-{how}")) < 1e-2
    samples = runs.folder / f"text-bf16-{how}" / "samples"
    assert len(list(samples.glob("step-*.json"))) == 2, "answered before and after, by one process"


@pytest.mark.parametrize("how", SHARED)
def test_a_run_of_one_process_resumes_with_two_and_the_reverse(runs: Runs, how: str) -> None:
    expected = runs.losses("text-full")
    assert difference(expected, runs.losses(f"one-then-{how}")) < FP32
    assert difference(expected, runs.losses(f"{how}-then-one")) < FP32


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("how", SHARED)
def test_a_gradient_that_is_not_finite_stops_all_before_weights_change(runs: Runs, how: str, value: str) -> None:
    """In one process only; the loss is finite in both."""
    for rank in range(2):
        found = json.loads((runs.folder / f"spoilt-{how}-{value}" / f"spoilt-{rank}.json").read_text())
        assert re.match(r"step 2: loss [\d.]+, gradient norm (inf|nan); the weights were not changed", found["said"])
        assert found["moved"] == []


def test_master_weights_of_one_process_resume_with_two(runs: Runs) -> None:
    assert difference(runs.losses("text-bf16"), runs.losses("bf16-one-then-zero2")) < 1e-2


def test_a_mean_of_pack_means_gives_other_losses(
    runs: Runs, tiny_llama: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control: the average of the packs' mean losses, as in trainers that do not count the targets of a step."""

    def mean_of_means(work: Any, engine: Any, step: OptimizerStep[Any]) -> torch.Tensor:
        total = torch.zeros(())
        for batch in step.batches:
            loss = work.loss(batch) / len(batch.targets) / len(step.batches)
            engine.backward(loss)
            total = total + loss.detach()
        return total

    monkeypatch.setattr(loop, "_accumulate", mean_of_means)
    runs.alone("mean-of-means", text_recipe(tiny_llama, rows, "lora", pack_tokens=150))
    assert difference(runs.losses("text-lora"), runs.losses("mean-of-means")) > 100 * FP32


@pytest.mark.parametrize("kind", ["vision-lora", "vision-full"])
def test_ranks_with_and_without_images_in_a_step_do_not_deadlock(runs: Runs, kind: str) -> None:
    """The worker's watchdog would have ended the group; this checks that the packs of the ranks did differ."""
    run = runs.folder / f"{kind}-mixed"
    assert json.loads((run / "report.json").read_text())["progress"]["step"] == MIXED_STEPS
    opened = open_model(read_run_config(run))
    data = read_run_data(opened.config, parts_of(opened), run, Path.cwd())
    chosen = np.arange(len(data.train))
    plan = plan_run(data.train, chosen, opened.config.train, opened.config.seed, world=2)
    images = data.train.image_counts
    pairs = {
        tuple(bool(images[pack].sum()) for pack in pair)
        for step in plan.plans[0].steps
        for pair in zip(step[::2], step[1::2], strict=False)  # an idle rank has none
    }
    assert {(True, False), (True, True)} & pairs and {(True, False), (False, True)} & pairs
