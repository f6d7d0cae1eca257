"""A training run told as a story; text and vision share it and differ in their `Parts`."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from errno import EDQUOT, EIO, ENOSPC, EROFS
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
from llm.errors import RunError
from llm.ground import Ground, changed_lines, completed
from llm.load import resolve_yaml
from llm.loader import Loader, Schedule, plan_run
from llm.lock import only_writer
from llm.loop import Work, fit
from llm.metrics import RunLog, Silent, now, peak_memory_gib, plot_loss, read_rows
from llm.optim import ParamGroup
from llm.preflight import preflight
from llm.quarantine import Quarantine
from llm.rng import random_states, restore_random, seed_apart
from llm.shard import Shard, cut
from llm.varlen import describe

BatchT = TypeVar("BatchT")
DISK = (ENOSPC, EDQUOT, EROFS, EIO)  # what a disk says that is full, over quota, read-only or broken


@dataclass(frozen=True, slots=True)
class Parts(Generic[BatchT]):
    """What a run is made of, text or vision."""

    model: nn.Module  # called with a batch: the summed loss
    encoder: Encoder
    groups: list[ParamGroup]
    collate: Callable[[Corpus, tuple[int, ...]], BatchT]
    answer: Callable[[Probe], str]
    check_image: CheckImage | None = None
    look: CheckImage | None = None  # reads a picture whole, as a step would; None: a text run
    bases: Callable[[Path], dict[str, str]] = lambda cache: {}  # hashes of what was trained elsewhere, by name
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
    quarantine: Quarantine | None = None
    held_quarantine: Quarantine | None = None

    def quarantined(self) -> dict[str, Any]:
        """The bad records of both corpora, for a checkpoint."""
        both = {"train": self.quarantine, "held": self.held_quarantine}
        return {name: quarantine.state() for name, quarantine in both.items() if quarantine is not None}

    def quarantine_again(self, state: dict[str, Any]) -> None:
        """Go on from `quarantined()`."""
        for quarantine, name in ((self.quarantine, "train"), (self.held_quarantine, "held")):
            if quarantine is not None:
                quarantine.load(state.get(name, ()))


def run_training(config: RunConfig, parts: Parts[BatchT], resolved: str, base: Path, anyway: bool = False) -> Path:
    """Train what the recipe says, from the newest whole checkpoint if there is one; returns the run folder.

    Running a finished run again does nothing and says so. Raises RunError when the folder holds another run or another
    process writes to it, CheckpointError when the data changed since the run began; `anyway` lets a changed recipe and
    changed data pass.
    """
    folder = run_folder(config)
    with only_writer(folder) if dist.here().first else nullcontext():
        try:
            return _train(config, parts, resolved, base, anyway)
        except OSError as error:
            if error.errno not in DISK:
                raise
            raise RunError(
                f"{folder}: the disk refused: {error}. Free space or check the disk, then run the same command to go "
                "on from the last checkpoint"
            ) from error


def _train(config: RunConfig, parts: Parts[BatchT], resolved: str, base: Path, anyway: bool) -> Path:
    folder = run_folder(config)
    with dist.first_goes_first():
        refuse_other_recipe(folder, config, anyway)
        newest, done = newest_whole(folder) or (None, Progress())
        if dist.here().first:
            claim_folder(folder, resolved)
    if done.finished and (folder / "report.json").exists():
        print(f"{folder}: finished at step {done.step}; nothing to do")
        return folder
    began = time.perf_counter()
    seed_apart(config.seed)
    material = read_material(config, parts, folder, base)
    _tell(material)
    if done.finished:  # it died between its last checkpoint and its report
        if dist.here().first:
            _report(folder, config, material, done, time.perf_counter() - began)
        return folder
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
    with dist.first_goes_first():  # it hashes; the others find that
        ground = _ground(config, parts, material, cache_folder(config, folder))
    state = _weights_of(newest, parts.model, ground, material, anyway) if newest else {}
    engine = build_engine(parts.model, parts.groups, config)  # it may cut the weights up: they are in place by now
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
            save=lambda progress: _save(folder, progress, parts, engine, ground, material, config.train.keep),
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
    return _loader(parts, material.train, material.schedule, material.quarantine)


def _loader(parts: Parts[BatchT], corpus: Corpus, schedule: Schedule, quarantine: Quarantine | None) -> Loader[BatchT]:
    """Batches where this process computes; with `parts.sequence`, its rows of the packs it shares with others."""
    device, ranks = dist.device(), dist.here()

    def make(indices: tuple[int, ...]) -> BatchT:
        batch: Any = parts.collate(corpus, indices)
        if parts.sequence > 1:
            batch = cut(batch, parts.sequence, ranks.rank % parts.sequence)
        made: BatchT = batch if device.type == "cpu" else batch.to(device)
        return made

    rank = ranks.rank // parts.sequence if schedule.plans[0].world > 1 else 0
    return Loader(corpus, schedule, make, rank, quarantine)


def _log_of(folder: Path, material: Material, done: Progress) -> RunLog | Silent:
    if not dist.here().first:
        return Silent()
    (folder / "report.json").unlink(missing_ok=True)  # of an end that turned out damaged
    return RunLog(folder, material.schedule.total, done.step, done.metrics)


def refuse_other_recipe(folder: Path, config: RunConfig, anyway: bool) -> None:
    """Raise RunError when the folder holds another recipe's run, unless `anyway`. Writes nothing."""
    recipe = folder / "config.yaml"
    if anyway or not recipe.exists() or not list_checkpoints(folder):
        return
    if changed := changed_lines(completed(recipe, type(config)), resolve_yaml(config)):
        raise RunError(
            f"{folder} holds a run of another recipe; these lines differ:\n{changed}\n"
            f"Go on with the old recipe ({recipe}), choose another `out`, delete the folder, or add --anyway"
        )


def claim_folder(folder: Path, resolved: str) -> None:
    """Keep the resolved recipe in the run folder. Raises RunError when that cannot be written."""
    try:
        _write_whole(folder / "config.yaml", resolved)
        _write_whole(folder / "environment.json", json.dumps(_environment(), indent=1))
    except OSError as error:
        raise RunError(f"{folder}: the run folder cannot be written: {error}. Choose another `out`") from error


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing, whenever the process dies: half a recipe would refuse the run that resumes it."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def _environment() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "tokenizers", "pillow")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}


def cache_folder(config: RunConfig, folder: Path) -> Path:
    """Where encoded records lie, and digests of the base models."""
    return Path(config.data.cache) if config.data.cache else folder / "cache"


def read_material(config: RunConfig, parts: Parts[BatchT], folder: Path, base: Path) -> Material:
    """Corpora, the held-out part and the schedule."""
    cache = cache_folder(config, folder)

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
    quarantine = _quarantine(config, parts, train)
    held_quarantine = quarantine if held_corpus is train else _quarantine(config, parts, held_corpus)
    return Material(train, chosen, held_corpus, held, schedule, facts, quarantine, held_quarantine)


def _quarantine(config: RunConfig, parts: Parts[BatchT], corpus: Corpus | None) -> Quarantine | None:
    if corpus is None or parts.look is None:
        return None
    return Quarantine(corpus, parts.look, stop=config.data.on_bad_image == "stop")


def _ground(config: RunConfig, parts: Parts[BatchT], material: Material, cache: Path) -> Ground:
    return Ground(parts.bases(cache) | parts.encoder.hashes() | {"data": material.train.digest()}, config)


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


def _save(
    folder: Path,
    progress: Progress,
    parts: Parts[BatchT],
    engine: Engine,
    ground: Ground,
    material: Material,
    keep: int,
) -> None:
    """What all processes hold, written by the first."""
    parallel = {"engine": engine.state(), "random": random_states()}
    weights = trainable_weights(parts.model, parts.saved_buffers, engine)
    if dist.here().first:
        state = parallel | {"quarantine": material.quarantined(), **ground.state()}
        save(folder, progress, weights, state, keep)
    dist.wait()


def _weights_of(newest: Path, model: nn.Module, ground: Ground, material: Material, anyway: bool) -> dict[str, Any]:
    """Put a checkpoint's weights back; returns its state. Raises CheckpointError before that if its ground changed."""
    state = read_state(newest)
    if not anyway:
        ground.refuse_changed(newest, state)
    if ground.same_data(state):  # other records have other numbers
        material.quarantine_again(state.get("quarantine", {}))
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
        for step in _loader(parts, corpus, schedule, material.held_quarantine).steps(0):
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
        "quarantined_records": _quarantined(material),
        "final_loss": train[-1]["loss"] if train else None,
        "validation_loss": validation[-1]["loss"] if validation else None,
        "tokens_seen": progress.tokens,
        "tokens_per_s": round(progress.tokens / max(progress.seconds, 1e-9), 1),
        "train_seconds": round(progress.seconds, 1),
        "seconds": round(seconds, 1),
        "peak_memory_gib": round(peak_memory_gib(), 2),
        "progress": asdict(progress),
    }
    plot_loss(folder)
    # Last and whole: a run that died before this line makes it up at its next start.
    _write_whole(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1))


def _quarantined(material: Material) -> list[str]:
    lists = {id(found): found for found in (material.quarantine, material.held_quarantine) if found is not None}
    return [line for found in lists.values() for line in found.told()]


def collate_text(corpus: Corpus, indices: tuple[int, ...], fold: bool = False) -> PackedBatch:
    """The batch of one pack of a text run."""
    return collate(samples_of(corpus, indices, fold), indices)


def samples_of(corpus: Corpus, indices: tuple[int, ...], fold: bool) -> list[Sample]:
    """The samples of a pack; with `fold`, those that share a beginning as one."""
    return corpus.folded(indices) if fold else [corpus.sample(index) for index in indices]
