"""A finetune of a ready model put together: opened, proved, trained, and opened again as a run left it."""

from functools import partial
from pathlib import Path

import torch

from llm import distributed
from llm.config.yaml_loader import resolve_yaml
from llm.data.corpus import Corpus
from llm.data.prefix_sharing import share_prefixes
from llm.errors import ConfigError
from llm.forward.chunked_loss import in_chunks
from llm.log import logger
from llm.model.activation_checkpointing import recompute
from llm.model.hf_export import proving
from llm.model.model_folder import local_folder
from llm.model.precision import dtype_of
from llm.train.assembly import (
    MakeEvaluation,
    OpenedModel,
    check_tracking,
    evaluated,
    probe_answerer,
    resolve_dtype,
)
from llm.train.provenance import base_digest
from llm.train.run import run_training
from llm.train.run_parts import RunParts
from vlm.config import ReadyRunConfig
from vlm.ready.batch import ReadyBatch, collate_ready
from vlm.ready.chat import chat_model
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.feature_cache import FOLDER, corpus_units, open_ready_features
from vlm.ready.forward import ReadyModule
from vlm.ready.parts import train_parts
from vlm.ready.proof import Proof, prove
from vlm.ready.quantised import products_in_fp32
from vlm.ready.ready_model import ReadyVlm, open_ready
from vlm.ready.report import proof_lines
from vlm.ready.ways import Way
from vlm.vision.images import check_header, read_image


class OpenedReady(OpenedModel[ReadyRunConfig, ReadyModule]):
    """A ready model, opened."""

    __slots__ = ()


def train_ready(
    config: ReadyRunConfig, base: Path, anyway: bool = False, evaluation: MakeEvaluation | None = None
) -> Path:
    """Train a ready model, or continue; returns the run folder. As `llm.train.assembly.train_text`.

    Raises ModelError where the model is not computed here as plain transformers computes it.
    """
    check_tracking(config)
    config = resolve_dtype(config)
    opened = open_proved(config)
    parts = evaluated(ready_parts(opened), opened, evaluation)
    return run_training(opened.config, parts, resolve_yaml(opened.config), base, anyway)


def open_proved(config: ReadyRunConfig) -> OpenedReady:
    """The recipe's model as it trains: it attends to packs in the way that its proof found.

    Its recipe is without what the model cannot do. Raises ModelError as `train_ready`.
    """
    torch.manual_seed(config.seed)  # adapters are initialised below
    return _open(config, proved=True)


def open_ready_model(config: ReadyRunConfig) -> OpenedReady:
    """The recipe's model with what this run trains opened, to answer or to be exported: it attends as transformers."""
    return _open(config, proved=False)


def _open(config: ReadyRunConfig, proved: bool) -> OpenedReady:
    """`proved`: the model attends to packs in the way that the proof finds, which is logged and kept for the report."""
    vlm = open_ready(config.model.llm, dtype_of(config), 4 if config.tune.in_four_bits else 0)
    vlm.hf.config.get_text_config().use_cache = False
    vlm.attend(Way.ALONE)
    module = ReadyModule(vlm, in_chunks(config))
    if proved:
        config = _prove(config, module)
    groups = train_parts(vlm, config)
    recompute(vlm.text, config)
    for tower in vlm.towers() if vlm.image_side_trains else ():
        recompute(tower, config)
    encoder = ReadyEncoder(vlm.processor)
    if proved:
        encoder.shares = module.shares_prefixes
    return OpenedReady(config, module, encoder, groups, chat_model(vlm, encoder))


def _prove(config: ReadyRunConfig, module: ReadyModule) -> ReadyRunConfig:
    """Prove the model, in fp32 and before anything is frozen; the recipe without what the model cannot do."""
    vlm = module.vlm
    with proving(vlm.hf), products_in_fp32(vlm.hf), torch.enable_grad():
        proof = prove(vlm)
    for line in proof_lines(proof, vlm.processor.counts):
        logger.info(line)
    module.shares_prefixes, module.facts = _agreed(vlm, proof), {"proof": proof.facts()}
    _refuse_records_out_of_step(vlm, config)
    if module.shares_prefixes:
        return config
    if config.data.turns == "apart":
        logger.info("turns: apart: every question is computed with its own image tokens, prefixes are not shared here")
    return config.model_copy(update={"train": config.train.model_copy(update={"fold": "off"})})


def _agreed(vlm: ReadyVlm, proof: Proof) -> bool:
    """Whether prefixes are shared: where every process found that they may be. A collective.

    Machines may round differently: all processes attend in the most careful of the ways that they found.
    """
    ways = list(Way)
    found = distributed.all_gather(torch.tensor([ways.index(proof.way), not proof.shares_prefixes]))
    way, none_shared = torch.stack(found).amax(0).tolist()
    vlm.attend(ways[way])
    return not none_shared


def _refuse_records_out_of_step(vlm: ReadyVlm, config: ReadyRunConfig) -> None:
    """Raise ConfigError under ZeRO-3 for a model whose records are computed one by one."""
    if config.parallel.zero == 3 and vlm.way == Way.ALONE and distributed.ranks().world > 1:
        raise ConfigError(
            f"parallel.zero: 3: {vlm.name} computes the records of a pack one by one, and the packs of two processes "
            "have different numbers of them. Use zero: 2"
        )


def ready_parts(opened: OpenedReady) -> RunParts[ReadyBatch]:
    """What the training loop needs of an opened ready model; its report keeps what the proof found."""
    config = opened.config
    fold = config.train.fold == "auto" and opened.model.shares_prefixes
    return RunParts(
        model=opened.model,
        encoder=opened.encoder,
        groups=opened.groups,
        collate=partial(_collate, opened.model, fold),
        answer=probe_answerer(opened.chat_model),
        check_image=read_image if config.data.check_images == "decode" else check_header,
        look=read_image,
        bases=partial(_base_digests, config),
        ready=partial(_prepare, config, opened.model),
        must_move=tuple(group.name for group in opened.groups if group.name == "llm"),
        facts=opened.model.facts,
    )


def _prepare(config: ReadyRunConfig, module: ReadyModule, corpus: Corpus, folder: Path) -> str:
    """Prepare the module for the processes of a run, and open its feature cache; returns a line to log."""
    module.lockstep = config.parallel.zero > 0
    if config.parallel.zero == 3:
        from llm.train.deepspeed import gather_with, gathered  # here: it imports DeepSpeed

        gather_with(module, module.vlm.loose)
        module.vlm.with_loose = partial(gathered, module.vlm.loose)
    data, vlm = config.data, module.vlm
    features = Path(data.cache) / "features" if data.cache else folder.parent / FOLDER
    units = list(corpus_units(corpus, vlm.processor.row_id)) if data.cache_features == "auto" else []
    module.feature_cache, line = open_ready_features(vlm, data.cache_features, features, units, data.cache_gib)
    return line


def _collate(module: ReadyModule, fold: bool, corpus: Corpus, indices: tuple[int, ...]) -> ReadyBatch:
    vlm, cache = module.vlm, module.feature_cache
    samples = [corpus.sample(index) for index in indices]
    if not fold:
        return collate_ready(samples, vlm, indices, cache)
    single = [sample for sample in samples if len(sample.images) <= 1]
    tree = [share_prefixes(single, vlm.processor.row_id)[0]] if single else []
    return collate_ready([*tree, *(sample for sample in samples if len(sample.images) > 1)], vlm, indices, cache)


def _base_digests(config: ReadyRunConfig, cache: Path) -> dict[str, str]:
    """The hash of the folder that the run starts from."""
    return {"model.vlm": base_digest(local_folder(config.model.llm, ("config.json", "*.safetensors")), cache)}
