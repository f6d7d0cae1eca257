"""A training run told as a story; text and vision share it and differ in their `Parts`."""

import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llm import dist
from llm.batch import PackedBatch, collate
from llm.checkpoint import (
    Progress,
    list_checkpoints,
    load_weights,
    newest_whole,
    read_state,
    read_weights,
    save,
)
from llm.config import Probe, RunConfig, Source, run_folder
from llm.corpus import CheckImage, Corpus, build_corpus, hold_out
from llm.encode import Encoder, Sample
from llm.engine import Engine, build_engine
from llm.errors import CheckpointError, RunError
from llm.loader import Loader, Schedule, plan_run
from llm.lock import only_writer
from llm.loop import Work, fit
from llm.metrics import RunLog, Silent, now, peak_memory_gib, plot_loss, read_rows
from llm.optim import ParamGroup
from llm.preflight import preflight
from llm.rng import random_states, restore_random, seed_apart
from llm.shard import Shard, cut
from llm.varlen import describe

BatchT = TypeVar("BatchT")


@dataclass(frozen=True, slots=True)
class Parts(Generic[BatchT]):
    """What a run is made of, text or vision."""

    model: nn.Module  # called with a batch: the summed loss
    encoder: Encoder
    groups: list[ParamGroup]
    collate: Callable[[Corpus, tuple[int, ...]], BatchT]
    answer: Callable[[Probe], str]
    check_image: CheckImage | None = None
    prepare: Callable[[Corpus], None] = lambda corpus: None  # once, before a fresh run's first step
    ready: Callable[[Corpus, Path], str] = lambda corpus, folder: ""  # before every run's first step; a line to print
    saved_buffers: tuple[str, ...] = ()  # buffers that belong to a checkpoint, by name
    must_move: tuple[str, ...] = ()  # groups whose gradient may not be zero
    sequence: int = 1  # processes that share every pack


@dataclass(frozen=True, slots=True)
class Material:
    """The data of a run: corpora and what is done with them."""

    train: Corpus
    chosen: NDArray[np.int64]
    held_corpus: Corpus | None
    held: NDArray[np.int64]
    schedule: Schedule
    facts: dict[str, Any] = field(default_factory=dict)


def run_training(config: RunConfig, parts: Parts[BatchT], resolved: str, base: Path, anyway: bool = False) -> Path:
    """Train what the recipe says, from the newest whole checkpoint if there is one; returns the run folder.

    Running a finished run again does nothing and says so. Raises RunError when the folder holds another run or another
    process writes to it, CheckpointError when the data changed since the run began; `anyway` lets a changed recipe and
    changed data pass.
    """
    with only_writer(run_folder(config)) if dist.here().first else nullcontext():
        return _train(config, parts, resolved, base, anyway)


def _train(config: RunConfig, parts: Parts[BatchT], resolved: str, base: Path, anyway: bool) -> Path:
    folder = run_folder(config)
    with dist.first_goes_first():
        if dist.here().first:
            claim_folder(folder, resolved, anyway)
        newest, done = newest_whole(folder) or (None, Progress())
    if done.finished:
        print(f"{folder}: finished at step {done.step}; nothing to do")
        return folder
    began = time.perf_counter()
    seed_apart(config.seed)
    material = read_material(config, parts, folder, base)
    _tell(material)
    if done.step >= material.schedule.total:  # only after --anyway: the plan became shorter than what is done
        print(f"{folder}: is at step {done.step}, the new plan ends at {material.schedule.total}; nothing to do")
        return folder
    first = next(parts.model.to(dist.device()).parameters())
    print(f"attention: {describe(dist.device(), first.dtype)}")
    if line := parts.ready(material.train, folder):
        print(line)
    loader = loader_of(parts, material)
    parts.model.train()
    if not done.step:
        parts.prepare(material.train)
    preflight(parts.model, parts.groups, loader, parts.must_move, material.train)
    digest = material.train.digest()
    state = _weights_of(newest, parts.model, digest, anyway) if newest else {}
    engine = build_engine(parts.model, parts.groups, config)
    if newest:
        engine.load(state["engine"])
        same = restore_random(state["random"], config.seed, done.step)
        print(f"{folder}: going on after step {done.step}{'' if same else '; as other processes, with other dropout'}")
    with _log_of(folder, material, done) as log:
        if not done.step:
            log.write({"kind": "plan", "step": 0, **material.facts, "time": now()})
        work = Work(
            loss=engine.model,
            name_samples=lambda batch: _names(batch, material.train),
            shape=_shape,
            save=lambda progress: _save(folder, progress, parts, engine, digest, config.train.keep),
            validate=lambda: _validation_loss(parts, material, config),
            probe=lambda step: _probe(folder, step, config, parts.answer),
        )
        progress = fit(work, engine, loader, log, config.train, config.optim, done)
    if dist.here().first:
        _report(folder, config, material, progress, time.perf_counter() - began)
    dist.wait()
    return folder


def loader_of(parts: Parts[BatchT], material: Material) -> Loader[BatchT]:
    """The training steps of this process."""
    return _loader(parts, material.train, material.schedule)


def _loader(parts: Parts[BatchT], corpus: Corpus, schedule: Schedule) -> Loader[BatchT]:
    """Batches where this process computes; with `parts.sequence`, its rows of the packs it shares with others."""
    device, ranks = dist.device(), dist.here()

    def make(indices: tuple[int, ...]) -> BatchT:
        batch: Any = parts.collate(corpus, indices)
        if parts.sequence > 1:
            batch = cut(batch, parts.sequence, ranks.rank % parts.sequence)
        made: BatchT = batch if device.type == "cpu" else batch.to(device)
        return made

    return Loader(corpus, schedule, make, ranks.rank // parts.sequence if schedule.plans[0].world > 1 else 0)


def _log_of(folder: Path, material: Material, done: Progress) -> RunLog | Silent:
    if not dist.here().first:
        return Silent()
    return RunLog(folder, material.schedule.total, done.step, done.metrics)


def claim_folder(folder: Path, resolved: str, anyway: bool = False) -> Path:
    """Keep the resolved recipe in the run folder; RunError when it holds another recipe's run, unless `anyway`."""
    try:
        recipe = folder / "config.yaml"
        began = recipe.exists() and list_checkpoints(folder)
        changed = _changed(recipe.read_text(encoding="utf-8"), resolved) if began and not anyway else ""
        if changed:
            raise RunError(
                f"{folder} holds a run of another recipe; these lines differ:\n{changed}\n"
                f"Go on with the old recipe ({recipe}), choose another `out`, delete the folder, or add --anyway"
            )
        recipe.write_text(resolved, encoding="utf-8")
        (folder / "environment.json").write_text(json.dumps(_environment(), indent=1))
    except OSError as error:
        raise RunError(f"{folder}: the run folder cannot be written: {error}. Choose another `out`") from error
    return folder


def _changed(old: str, new: str) -> str:
    """The lines that differ; how many processes share the work, and how, is free to change on the way."""
    old, new = (re.sub(r"^parallel:\n(?: +.*\n)*", "", text, flags=re.MULTILINE) for text in (old, new))
    before, after = set(old.splitlines()), set(new.splitlines())
    lines = [f"  was: {line.strip()}" for line in old.splitlines() if line not in after]
    lines += [f"  now: {line.strip()}" for line in new.splitlines() if line not in before]
    return "\n".join(lines)


def _environment() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "tokenizers", "pillow")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}


def read_material(config: RunConfig, parts: Parts[BatchT], folder: Path, base: Path) -> Material:
    """Corpora, the held-out part and the schedule."""
    cache = Path(config.data.cache) if config.data.cache else folder / "cache"

    def corpus_of(sources: tuple[Source, ...]) -> Corpus:
        with dist.first_goes_first():  # it reads and encodes; the others find that
            return build_corpus(sources, config.data, parts.encoder, cache, base, parts.check_image)

    train = corpus_of(config.data.sources)
    chosen, held = hold_out(train, config.data.validation, config.seed)
    held_corpus: Corpus | None = train if len(held) else None
    if config.data.validation_sources:
        held_corpus = corpus_of(config.data.validation_sources)
        held = np.arange(len(held_corpus))
    schedule = plan_run(train, chosen, config.train, config.seed, dist.here().world // config.parallel.sequence)
    facts = {
        "records": len(train),
        "dropped_too_long": len(train.dropped),
        "validation_records": len(held),
        "tokens": int(train.lengths[chosen].sum()),
        "supervised_tokens": int(train.targets[chosen].sum()),
        "images": int(train.image_counts[chosen].sum()),
        "steps": schedule.total,
    }
    return Material(train, chosen, held_corpus, held, schedule, facts)


def _tell(material: Material) -> None:
    for line in material.train.sources:
        print(line)
    for place in material.train.dropped[:5]:
        print(f"dropped, too long: {place}")


def _names(batch: Any, corpus: Corpus) -> str:
    text: PackedBatch | Shard = batch if isinstance(batch, PackedBatch | Shard) else batch.text
    return "; ".join(corpus.places[index] for index in text.samples)


def _shape(batch: Any) -> str:
    text: PackedBatch | Shard = batch if isinstance(batch, PackedBatch | Shard) else batch.text
    pictures = "" if text is batch else f", {batch.pictures} pictures"
    return f"{text.tokens:,} rows ({len(text.samples)} samples{pictures})"


def trainable_weights(model: nn.Module, buffers: tuple[str, ...], engine: Engine) -> dict[str, Tensor]:
    """What a checkpoint keeps: the parameters that train and the buffers that belong to them."""
    weights = engine.weights({name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad})
    return weights | {name: tensor for name, tensor in model.named_buffers() if name in buffers}


def _save(folder: Path, progress: Progress, parts: Parts[BatchT], engine: Engine, digest: str, keep: int) -> None:
    """What all processes hold, written by the first."""
    state = {"engine": engine.state(), "random": random_states(), "data": digest}
    weights = trainable_weights(parts.model, parts.saved_buffers, engine)
    if dist.here().first:
        save(folder, progress, weights, state, keep)
    dist.wait()


def _weights_of(newest: Path, model: nn.Module, digest: str, anyway: bool) -> dict[str, Any]:
    """Put a checkpoint's weights back; returns its state. Raises CheckpointError before that if the data changed."""
    state = read_state(newest)
    if state.get("data", digest) != digest and not anyway:
        raise CheckpointError(
            f"{newest}: the training data changed since the run began ({state['data']} then, {digest} now): the steps "
            "to come would not be the ones that were planned. Bring the data back, choose another `out`, or add "
            "--anyway to go on from this step of the new plan"
        )
    load_weights(model, read_weights(newest))
    return state


def _validation_loss(parts: Parts[BatchT], material: Material, config: RunConfig) -> float | None:
    """Mean loss over all held-out targets, in eval mode."""
    corpus = material.held_corpus
    if corpus is None:
        return None
    train = config.train.model_copy(update={"epochs": 1.0, "max_steps": 0})
    groups = dist.here().world // parts.sequence
    seen = 1 if len(material.held) >= groups else groups  # too few to share: every group sees them all
    schedule = plan_run(corpus, material.held, train, seed=0, world=groups // seen)
    modes = {module: module.training for module in parts.model.modules()}
    parts.model.eval()
    total, targets = 0.0, 0
    with torch.no_grad():
        for step in _loader(parts, corpus, schedule).steps(0):
            total += sum(float(parts.model(batch)) for batch in step.batches)
            targets += step.targets
    total = float(dist.total(torch.tensor(total, dtype=torch.float64))) / seen
    for module, training in modes.items():
        module.training = training
    return total / targets


def _probe(folder: Path, step: int, config: RunConfig, answer: Callable[[Probe], str]) -> None:
    probes, first = config.train.probes, dist.here().first
    if not probes or not (first or config.parallel.zero == 3):
        return
    # Under ZeRO-3 all answer together: each holds a part of the weights.
    answers = [{"prompt": probe.prompt, "image": probe.image, "answer": answer(probe)} for probe in probes]
    if not first:
        return
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    (samples / f"step-{step:06d}.json").write_text(json.dumps(answers, ensure_ascii=False, indent=1), encoding="utf-8")
    for row in answers:
        print(f"     probe {step:>6}  {row['prompt']!r} -> {row['answer']!r}")


def _report(folder: Path, config: RunConfig, material: Material, progress: Progress, seconds: float) -> None:
    """report.json and loss.png: what the run was and what came of it."""
    train, validation = read_rows(folder, "train"), read_rows(folder, "validation")
    report = {
        "name": config.name,
        "stage": config.stage,
        **material.facts,
        "dropped_records": material.train.dropped,
        "final_loss": train[-1]["loss"] if train else None,
        "validation_loss": validation[-1]["loss"] if validation else None,
        "tokens_seen": progress.tokens,
        "tokens_per_s": round(progress.tokens / max(progress.seconds, 1e-9), 1),
        "train_seconds": round(progress.seconds, 1),
        "seconds": round(seconds, 1),
        "peak_memory_gib": round(peak_memory_gib(), 2),
        "progress": asdict(progress),
    }
    (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    plot_loss(folder)


def collate_text(corpus: Corpus, indices: tuple[int, ...], fold: bool = False) -> PackedBatch:
    """The batch of one pack of a text run."""
    return collate(samples_of(corpus, indices, fold), indices)


def samples_of(corpus: Corpus, indices: tuple[int, ...], fold: bool) -> list[Sample]:
    """The samples of a pack; with `fold`, those that share a beginning as one."""
    return corpus.folded(indices) if fold else [corpus.sample(index) for index in indices]
