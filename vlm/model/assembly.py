"""Runs of every stage: how their parts are put together, and how a finished run is opened again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm import distributed
from llm.chat.chat_model import ChatModel, question
from llm.chat.sampling import Sampling
from llm.config.schema import ModelConfig, Probe, RunConfig, run_folder
from llm.config.yaml_loader import resolve_yaml
from llm.data.corpus import Corpus
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import ConfigError, ImageError, RunError
from llm.formats.conversation import ImageRef
from llm.forward.text_model import TextModel
from llm.log import logger
from llm.model.activation_checkpointing import recompute
from llm.model.model_folder import local_folder
from llm.model.precision import SomeRun, in_dtype, settle, this_machine
from llm.model.pretrained import load_tokenizer
from llm.train.build_model import EarlierRun, build_text_model
from llm.train.checkpoint import find_checkpoint, load_weights, verified_weights, weights_digest
from llm.train.optimizer import ParamGroup
from llm.train.provenance import base_digest
from llm.train.run import run_training
from llm.train.run_data import collate_text, samples_of
from llm.train.run_folder import begun_dtype
from llm.train.run_parts import RunParts
from vlm.config import VlmRunConfig, load_config
from vlm.model.batch import VlmBatch, collate_vlm, read_pixels
from vlm.model.build_model import build_vision_model
from vlm.model.feature_cache import FeatureStore, fill, open_store
from vlm.model.forward import VlmModel
from vlm.model.lineage import lineage
from vlm.model.prompt_embedding import image_embedder, text_embedder
from vlm.model.rebased_paths import rebased
from vlm.model.vision_model import VisionModel
from vlm.vision.images import check_header, read_image
from vlm.vision.towers import tower_files

HERE = Path()
FEATURES = ".features"  # the folder beside the run folders
STATISTICS_IMAGES = 64  # pictures whose features give the projector's fixed statistics


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model with the weights of a run, ready to answer, to train on or to export."""

    config: RunConfig
    model: TextModel | VlmModel
    encoder: Encoder
    groups: list[ParamGroup]

    @property
    def chat_model(self) -> ChatModel:
        """The model as one that answers."""
        return chat_model_of(self.model, self.encoder)

    def placed(self) -> "OpenedModel":
        """The same model, where this process computes."""
        self.model.to(distributed.device())
        return self


def train(config: RunConfig, base: Path, anyway: bool = False) -> Path:
    """Train a text or vision run; returns its folder. `anyway`: though its recipe or data changed since it began."""
    config = settled(config)
    torch.manual_seed(config.seed)  # fresh projectors and adapters are drawn here
    opened = open_model(config)
    _refuse_uneven(opened.chat_model.text, config.parallel.sequence)
    if isinstance(opened.model, VlmModel):
        for note in opened.model.vision.notes:  # what cannot be exported says so before step 1
            logger.info(note)
    return run_training(config, parts_of(opened), resolve_yaml(config), base, anyway)


def settled(config: SomeRun) -> SomeRun:
    """The recipe in the dtype that its run computes in, which is told: the one it began in or, under `auto`, this
    machine's. Of several processes the first decides: their machines may differ.
    """
    known, line = settle(config, this_machine(), begun_dtype(run_folder(config), type(config)))
    if line:
        logger.info(line)
    if config.train.dtype != "auto":
        return known
    bf16 = distributed.all_reduce_sum(torch.tensor(float(distributed.ranks().first and known.train.dtype == "bf16")))
    return in_dtype(known, "bf16" if bf16 else "fp32")


def parts_of(opened: OpenedModel) -> RunParts[Any]:
    """What the loop needs of an opened model, text or vision."""
    if isinstance(opened.model, VlmModel):
        return _vision_parts(opened, opened.model)
    return _text_parts(opened)


def open_model(config: RunConfig, home: Path = HERE) -> OpenedModel:
    """Build the recipe's model, bring in what the runs before it trained, and open what this one trains.

    Relative paths in those runs' recipes begin at `home`.
    """
    return _open_vision(config, home) if isinstance(config, VlmRunConfig) else _open_text(config, home)


def _open_text(config: RunConfig, home: Path) -> OpenedModel:
    tokenizer = load_tokenizer(config.model.llm)
    model, groups = build_text_model(config, earlier_runs(config, home))
    recompute(model.llm, config)
    encoder = Encoder(tokenizer, load_template(config.data.template, tokenizer))
    return OpenedModel(config, model, encoder, groups)


def _open_vision(config: VlmRunConfig, home: Path) -> OpenedModel:
    model, groups = build_vision_model(config, earlier_runs(config, home))
    vision = model.vision
    recompute(vision.language_model, config)
    tokenizer = vision.tokenizer
    template = load_template(config.data.template, tokenizer)
    return OpenedModel(config, model, Encoder(tokenizer, template, vision.image_id, vision.rows), groups)


def _refuse_uneven(llm: PreTrainedModel, sequence: int) -> None:
    """Raise ConfigError where `parallel.sequence` fits neither the processes nor the heads."""
    world, heads = distributed.ranks().world, llm.config.get_text_config().num_attention_heads
    if world % sequence:
        raise ConfigError(f"parallel.sequence is {sequence}, which does not divide the {world} processes of this run")
    if heads % sequence:
        raise ConfigError(f"parallel.sequence is {sequence}, which does not divide the LLM's {heads} attention heads")


def earlier_runs(config: RunConfig, home: Path = HERE) -> list[EarlierRun]:
    """The chain of `from`, oldest first, each with its folder. ConfigError when models differ, or for a loop."""

    def read(folder: Path) -> RunConfig:
        earlier = read_run_config(folder, home)
        _same_model(config.model, earlier.model, folder)
        return earlier

    return lineage(config, read)[0]


def _same_model(now: ModelConfig, then: ModelConfig, folder: Path) -> None:
    for key, value in then.model_dump().items():
        if now.model_dump().get(key) != value:
            raise ConfigError(
                f"model.{key} is {now.model_dump().get(key)!r}, but {folder} was trained with {value!r}. "
                "A run that starts `from` another keeps its model section"
            )


def read_run_config(folder: Path, home: Path = HERE) -> RunConfig:
    """The recipe a run folder was made from, its relative paths beginning at `home`."""
    path = folder / "config.yaml"
    if not path.exists():
        raise RunError(
            f"{folder} is no run folder: config.yaml is missing. Name the folder a run wrote, as runs/my-run"
        )
    config = load_config(path, ())
    if not isinstance(config, RunConfig):
        raise RunError(f"{folder} holds no training run, but a run of stage {config.stage}")
    return config if home == HERE else rebased(config, home)


def open_run(folder: Path, checkpoint: str = "latest", base: bool = False, home: Path = HERE) -> OpenedModel:
    """The model as a run left it at a checkpoint; with `base`, as it was before the run began.

    Relative paths in its recipe begin at `home`, the folder in which it was trained.
    """
    config = read_run_config(folder, home)
    if base:
        return open_model_without_tuning(config, home)
    opened = open_model(config, home)
    load_weights(opened.model, verified_weights(find_checkpoint(folder, checkpoint)))
    opened.model.eval()
    return opened


def open_model_without_tuning(config: RunConfig, home: Path = HERE) -> OpenedModel:
    """The recipe's model before its own training: no fresh adapters in it."""
    frozen = config.model_copy(update={"tune": config.tune.model_copy(update={"kind": "frozen"})})
    opened = open_model(frozen, home)
    opened.model.eval()
    return opened


def chat_model_of(model: TextModel | VlmModel, encoder: Encoder) -> ChatModel:
    """The model as one that answers."""
    if isinstance(model, TextModel):
        return ChatModel(model.llm, model.llm, encoder, text_embedder(model.llm.get_input_embeddings()))
    vision = model.vision
    embed = image_embedder(vision.embed_tokens, vision.image_id, lambda images: embed_files(vision, images))
    return ChatModel(vision.hf, vision.language_model, encoder, embed)


def embed_files(vision: VisionModel, images: tuple[ImageRef, ...]) -> Tensor:
    """I images -> [I * P, hidden of the LLM], on the model's device."""
    pixels = read_pixels(list(images), vision.preprocess).to(vision.tower.device)
    return vision.embed_images(vision.features(pixels))


def _text_parts(opened: OpenedModel) -> RunParts[Any]:
    return RunParts(
        model=opened.model,
        encoder=opened.encoder,
        groups=opened.groups,
        collate=partial(collate_text, fold=opened.config.train.fold == "auto"),
        answer=_answerer(opened),
        must_move=("llm",),
        sequence=opened.config.parallel.sequence,
        bases=partial(bases, opened.config),
    )


def _vision_parts(opened: OpenedModel, model: VlmModel) -> RunParts[Any]:
    vision = model.vision
    check = read_image if opened.config.data.check_images == "decode" else check_header

    def collate(corpus: Corpus, indices: tuple[int, ...]) -> VlmBatch:
        samples = samples_of(corpus, indices, opened.config.train.fold == "auto", vision.image_id)
        return collate_vlm(samples, vision.preprocess, vision.image_id, vision.rows, indices, model.store)

    def ready(corpus: Corpus, folder: Path) -> str:
        images = [path for images in corpus.images for path in images]
        line = keep_features(model, opened.config, images, folder)
        model.together = opened.config.parallel.zero > 0 and distributed.ranks().world > 1
        lenient = opened.config.data.on_bad_image == "quarantine"
        if model.together and model.store is not None and not fill(model.store, vision, images, lenient):
            model.store = None
            return "features: computed in every step, there is no room for those of all pictures"
        return line

    def prepare(corpus: Corpus) -> None:
        if not opened.config.start:
            seen = dict.fromkeys(path for images in corpus.images for path in images)
            step = max(1, len(seen) // STATISTICS_IMAGES)
            chosen = [ImageRef(path) for path in list(seen)[::step]]
            if opened.config.data.on_bad_image == "quarantine":  # the steps will count them
                chosen = [image for image in chosen if readable(image)]
            vision.standardise(read_pixels(chosen, vision.preprocess).to(distributed.device()))

    return RunParts(
        model=model,
        encoder=opened.encoder,
        groups=opened.groups,
        collate=collate,
        answer=_answerer(opened),
        check_image=check,
        look=lambda image: look(image, model.store),
        bases=partial(bases, opened.config),
        prepare=prepare,
        ready=ready,
        saved_buffers=tuple(name for name, _ in model.named_buffers() if ".projector." in f".{name}"),
        must_move=("projector",),
    )


def look(image: ImageRef, store: FeatureStore | None) -> None:
    """Read a picture as a step does: one whose features are kept only to the bytes they are known by. ImageError."""
    if store is None or store.get(store.name(image)) is None:
        read_image(image)


def readable(image: ImageRef) -> bool:
    """Whether a picture can still be read."""
    try:
        read_image(image)
    except ImageError:
        return False
    return True


def bases(config: RunConfig, cache: Path) -> dict[str, str]:
    """Hashes of the folders and runs whose weights the recipe starts from, by the key that names them."""
    found = {"model.llm": base_digest(local_folder(config.model.llm, ("config.json", "*.safetensors")), cache)}
    if isinstance(config, VlmRunConfig):
        tower = tower_files(config.model.tower)
        if tower is not None:
            found["model.tower"] = base_digest(tower, cache)
        if config.model.projector_weights:
            found["model.projector_weights"] = base_digest(Path(config.model.projector_weights), cache)
    for number, (_, folder) in enumerate(reversed(earlier_runs(config))):
        found["from" + ".from" * number] = weights_digest(find_checkpoint(folder))
    return found


def keep_features(model: VlmModel, config: RunConfig, images: Sequence[str], run: Path) -> str:
    """Open the store of features for a run's pictures, if the recipe and the tower allow it; returns what to tell.

    It lies beside the run folder, or in `data.cache`: both stages and their evaluation share it.
    """
    folder = Path(config.data.cache) / "features" if config.data.cache else run.parent / FEATURES
    model.store, line = open_store(model.vision, config.data.cache_features, folder, images, config.data.cache_gib)
    return line


def _answerer(opened: OpenedModel) -> Callable[[Probe], str]:
    def answer(probe: Probe) -> str:
        images = (probe.image,) if probe.image else ()
        asked = question(probe.prompt, images, probe.system)
        return opened.chat_model.answer(asked, Sampling(max_new_tokens=probe.max_new_tokens))

    return answer
