"""A training run told as a story; text and vision share it and differ in their `RunParts`."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from errno import EACCES, EDQUOT, EIO, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llm import distributed
from llm.attention.varlen_kernels import describe
from llm.config.schema import Probe, RunConfig, run_folder
from llm.data.loader import plan_run
from llm.errors import RunError
from llm.files.atomic_files import write_atomically
from llm.files.folder_mark import check_claim
from llm.files.owned_files import make_owned_folder
from llm.lean import decoder
from llm.log import logger
from llm.train.checkpoint import newest_intact, save
from llm.train.checkpoint_state import Progress, load_weights, read_state, read_weights
from llm.train.engine import Engine, build_engine
from llm.train.loop import LoopCallbacks, fit
from llm.train.metrics import NullLog, RunLog, now
from llm.train.preflight import preflight
from llm.train.process_memory import release_free_memory
from llm.train.provenance import Provenance
from llm.train.report import write_report
from llm.train.rng import restore_rng_states, rng_states, seed_process
from llm.train.run_data import RunData, cache_folder, loader_for, read_run_data, training_loader
from llm.train.run_folder import RUN, claim_folder, exclusive_writer, refuse_other_recipe
from llm.train.run_parts import Batch, RunParts

# What a disk says that is full, over quota, read-only, not ours or broken.
DISK = (ENOSPC, EDQUOT, EROFS, EACCES, EPERM, EIO)


def run_training(config: RunConfig, parts: RunParts[Batch], resolved: str, base: Path, anyway: bool = False) -> Path:
    """Train what the recipe says, from the newest whole checkpoint if there is one; returns the run folder.

    Running a finished run again does nothing and says so. Raises RunError when the folder holds another run or another
    process writes to it, CheckpointError when the data changed since the run began; `anyway` lets a changed recipe and
    changed data pass.
    """
    folder = run_folder(config)
    if distributed.ranks().first:
        check_claim(folder, RUN)  # before the lock is written: the folder may be somebody's
    with exclusive_writer(folder) if distributed.ranks().first else nullcontext():
        try:
            return _train(config, parts, resolved, base, anyway)
        except OSError as error:
            if error.errno not in DISK:
                raise
            raise RunError(
                f"{folder}: the disk refused: {error}. Free space or check the disk and its rights, then run the same "
                "command to go on from the last checkpoint"
            ) from error


def _train(config: RunConfig, parts: RunParts[Batch], resolved: str, base: Path, anyway: bool) -> Path:
    folder = run_folder(config)
    with distributed.first_rank_first():
        refuse_other_recipe(folder, config, anyway)
        newest, done = newest_intact(folder) or (None, Progress())
        if distributed.ranks().first:
            claim_folder(folder, resolved)
    if done.finished and (folder / "report.json").exists():
        logger.info(f"{folder}: finished at step {done.step}; nothing to do")
        return folder
    began = time.perf_counter()
    seed_process(config.seed)
    data = read_run_data(config, parts, folder, base)
    _tell(data)
    if done.finished:  # it died between its last checkpoint and its report
        if distributed.ranks().first:
            write_report(folder, config, data, done, time.perf_counter() - began)
        return folder
    if done.step >= data.schedule.total:  # only after --anyway: the plan became shorter than what is done
        logger.info(f"{folder}: is at step {done.step}, the new plan ends at {data.schedule.total}; nothing to do")
        return folder
    first = next(parts.model.to(distributed.device()).parameters())
    logger.info(f"attention: {describe(distributed.device(), first.dtype)}")
    if line := parts.ready(data.train, folder):
        logger.info(line)
    loader = training_loader(parts, data)
    parts.model.train()
    if decoder.lean_mode(config) != "off":
        decoder.advance_dropout_seeds(parts.model)
    release_free_memory()
    if not done.step:
        parts.prepare(data.train)
    preflight(parts.model, parts.groups, loader, parts.must_move, data.train)
    with distributed.first_rank_first():  # it hashes; the others find that
        provenance = _provenance_of(config, parts, data, cache_folder(config, folder))
    state = _weights_of(newest, parts.model, provenance, data, anyway) if newest else {}
    engine = build_engine(parts.model, parts.groups, config)  # it may partition the weights: after they are loaded
    if newest:
        engine.load(state["engine"])
        same = restore_rng_states(state["random"], config.seed, done.step)
        logger.info(
            f"{folder}: going on after step {done.step}{'' if same else '; as other processes, with other dropout'}"
        )
    with _log_of(folder, data, done) as log:
        if not done.step:
            log.write({"kind": "plan", "step": 0, **data.facts, "time": now()})
        callbacks = LoopCallbacks(
            loss=engine.model,
            place=lambda sample: data.train.places[sample],
            save=lambda progress: _save(folder, progress, parts, engine, provenance, data, config.train.keep),
            validate=lambda: _validation_loss(parts, data, config),
            probe=lambda step: _probe(folder, step, config, parts.answer),
        )
        progress = fit(callbacks, engine, loader, log, config.train, config.optim, done)
    if distributed.ranks().first:
        write_report(folder, config, data, progress, time.perf_counter() - began)
    distributed.barrier()
    return folder


def _log_of(folder: Path, data: RunData, done: Progress) -> RunLog | NullLog:
    if not distributed.ranks().first:
        return NullLog()
    (folder / "report.json").unlink(missing_ok=True)  # of an end that turned out damaged
    return RunLog(folder, data.schedule.total, done.step, done.metrics)


def _provenance_of(config: RunConfig, parts: RunParts[Batch], data: RunData, cache: Path) -> Provenance:
    return Provenance(parts.bases(cache) | parts.encoder.hashes() | {"data": data.train.digest()}, config)


def _tell(data: RunData) -> None:
    for line in data.train.sources:
        logger.info(line)
    for place in data.train.dropped[:5]:
        logger.info(f"dropped, too long: {place}")


def trainable_weights(model: nn.Module, buffers: tuple[str, ...], engine: Engine) -> dict[str, Tensor]:
    """What a checkpoint keeps: the parameters that train and the buffers that belong to them."""
    weights = engine.weights({name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad})
    return weights | {name: tensor for name, tensor in model.named_buffers() if name in buffers}


def _save(
    folder: Path,
    progress: Progress,
    parts: RunParts[Batch],
    engine: Engine,
    provenance: Provenance,
    data: RunData,
    keep: int,
) -> None:
    """What all processes hold, written by the first."""
    parallel = {"engine": engine.state(), "random": rng_states()}
    weights = trainable_weights(parts.model, parts.saved_buffers, engine)
    if distributed.ranks().first:
        state = parallel | {"quarantine": data.bad_records_state(), **provenance.state()}
        save(folder, progress, weights, state, keep)
    distributed.barrier()


def _weights_of(newest: Path, model: nn.Module, provenance: Provenance, data: RunData, anyway: bool) -> dict[str, Any]:
    """Load a checkpoint's weights; returns its state. Raises CheckpointError first if its provenance differs."""
    state = read_state(newest)
    if not anyway:
        provenance.refuse_changed(newest, state)
    if provenance.same_data(state):  # other records have other numbers
        data.restore_bad_records(state.get("quarantine", {}))
    load_weights(model, read_weights(newest))
    return state


def _validation_loss(parts: RunParts[Batch], data: RunData, config: RunConfig) -> float | None:
    """Mean loss over all held-out targets, in eval mode."""
    corpus = data.held_corpus
    if corpus is None:
        return None
    train = config.train.model_copy(update={"epochs": 1.0, "max_steps": 0})
    schedule = plan_run(corpus, data.held, train, seed=0, world=distributed.ranks().world // parts.sequence)
    modes = {module: module.training for module in parts.model.modules()}
    parts.model.eval()
    total, targets = 0.0, 0
    with torch.no_grad():
        for step in loader_for(parts, corpus, schedule, data.held_bad_records).steps(0):
            total += sum(float(parts.model(batch)) for batch in step.batches)
            targets += step.targets
    total = float(distributed.all_reduce_sum(torch.tensor(total, dtype=torch.float64)))
    for module, training in modes.items():
        module.training = training
    return total / targets


def _probe(folder: Path, step: int, config: RunConfig, answer: Callable[[Probe], str]) -> None:
    probes, first = config.train.probes, distributed.ranks().first
    if not probes or not (first or config.parallel.zero == 3):
        return
    # Under ZeRO-3 all answer together: each holds a part of the weights.
    answers = [{"prompt": probe.prompt, "image": probe.image, "answer": answer(probe)} for probe in probes]
    if not first:
        return
    samples = make_owned_folder(folder / "samples")
    write_atomically(samples / f"step-{step:06d}.json", json.dumps(answers, ensure_ascii=False, indent=1))
    for row in answers:
        logger.info(f"     probe {step:>6}  {row['prompt']!r} -> {row['answer']!r}")
