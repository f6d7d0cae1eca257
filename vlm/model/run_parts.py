"""An opened vision model, and what the training loop needs of it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from llm import distributed
from llm.config.schema import RunConfig
from llm.data.corpus import Corpus
from llm.encoding.encoder import Sample
from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from llm.prefer.answers import AnswerBatch
from llm.prefer.assembly import prefer_parts
from llm.train.assembly import OpenedModel, base_digests, probe_answerer
from llm.train.earlier_runs import earlier_runs
from llm.train.provenance import base_digest
from llm.train.run_data import samples_of
from llm.train.run_parts import RunParts
from vlm.config import VlmPreferConfig, VlmRunConfig
from vlm.model.batch import VlmBatch, collate_vlm, read_pixels
from vlm.model.feature_cache import FeatureCache, fill_cache, open_feature_cache
from vlm.model.forward import VlmModel
from vlm.model.run_recipe import read_run_config
from vlm.vision.images import check_header, read_image
from vlm.vision.towers import tower_files

FEATURES = ".features"  # the folder beside the run folders
STATISTICS_IMAGES = 64  # images whose features give the projector's fixed statistics


class OpenedVision(OpenedModel[VlmRunConfig, VlmModel]):
    """A vision model, opened."""

    __slots__ = ()


def vision_parts(opened: OpenedVision) -> RunParts[VlmBatch]:
    """What the training loop needs of an opened vision model."""
    config, model = opened.config, opened.model
    return RunParts(
        model=model,
        encoder=opened.encoder,
        groups=opened.groups,
        collate=_collator(config, model),
        answer=probe_answerer(opened.chat_model),
        check_image=read_image if config.data.check_images == "decode" else check_header,
        look=lambda image: read_unless_cached(image, model.feature_cache),
        bases=partial(_base_digests, config),
        prepare=partial(set_statistics, config, model),
        ready=partial(_open_features, config, model),
        saved_buffers=tuple(name for name, _ in model.named_buffers() if ".projector." in f".{name}"),
        must_move=("projector",),
    )


def prefer_vision_parts(opened: OpenedVision) -> RunParts[AnswerBatch[VlmBatch]]:
    """What the training loop needs of an opened vision model to compare answers about images."""
    config, model, vision = opened.config, opened.model, opened.model.vision
    assert isinstance(config, VlmPreferConfig), "a run of stage prefer"

    def make_pack(samples: list[Sample], indices: tuple[int, ...]) -> VlmBatch:
        return collate_vlm(
            samples, vision.preprocess, vision.image_id, vision.image_tokens, indices, model.feature_cache
        )

    return prefer_parts(
        config, config.prefer, vision_parts(opened), make_pack, lambda batch: batch.text, vision.image_id
    )


def _collator(config: VlmRunConfig, model: VlmModel) -> Callable[[Corpus, tuple[int, ...]], VlmBatch]:
    vision, fold = model.vision, config.train.fold == "auto"

    def collate(corpus: Corpus, indices: tuple[int, ...]) -> VlmBatch:
        samples = samples_of(corpus, indices, fold, vision.image_id)
        return collate_vlm(
            samples, vision.preprocess, vision.image_id, vision.image_tokens, indices, model.feature_cache
        )

    return collate


def _open_features(config: VlmRunConfig, model: VlmModel, corpus: Corpus, folder: Path) -> str:
    """Open the feature cache for a run; returns a line to log.

    Under ZeRO with several processes it is filled before the first step, since no process may then run the tower alone.
    """
    images = list(corpus.every_image())
    line = keep_features(model, config, images, folder)
    model.lockstep = config.parallel.zero > 0 and distributed.ranks().world > 1
    lenient = config.data.on_bad_image == "quarantine"
    cache = model.feature_cache if model.lockstep else None
    if cache is not None and not fill_cache(cache, model.vision, images, lenient):
        model.feature_cache = None
        return "features: computed in every step, there is no room for those of all images"
    return line


def keep_features(model: VlmModel, config: RunConfig, images: Sequence[ImageRef], run: Path) -> str:
    """Open the cache of image features for a run, if recipe and tower allow it; returns a line to log.

    The cache is beside the run folder or in `data.cache`: both stages and their evaluation share it.
    """
    folder = Path(config.data.cache) / "features" if config.data.cache else run.parent / FEATURES
    model.feature_cache, line = open_feature_cache(
        model.vision, config.data.cache_features, folder, images, config.data.cache_gib
    )
    return line


def set_statistics(config: VlmRunConfig, model: VlmModel, corpus: Corpus) -> None:
    """Fix the projector's feature statistics on images of the corpus; a run that starts from another has its own."""
    if config.start:
        return
    unique, views = list(dict.fromkeys(corpus.every_image())), model.vision.tower.largest.views
    chosen = unique[:: max(1, len(unique) * views // STATISTICS_IMAGES)]
    if config.data.on_bad_image == "quarantine":  # bad ones are counted in the steps
        chosen = [image for image in chosen if readable(image)]
    vision = model.vision
    vision.standardise(read_pixels(chosen, vision.preprocess).to(distributed.device()))


def read_unless_cached(image: ImageRef, cache: FeatureCache | None) -> None:
    """Read an image as a step does: completely, or only for its cache key where its features are cached. ImageError."""
    if cache is None or not cache.holds(cache.key(image)):
        read_image(image)


def readable(image: ImageRef) -> bool:
    """Whether an image can be read."""
    try:
        read_image(image)
    except ImageError:
        return False
    return True


def _base_digests(config: VlmRunConfig, cache: Path) -> dict[str, str]:
    """Hashes of the folders and runs whose weights the recipe starts from, by the key that names them."""
    found = base_digests(config, earlier_runs(config, read_run_config), cache)
    tower = tower_files(config.model.tower)
    if tower is not None:
        found["model.tower"] = base_digest(tower, cache)
    if config.model.projector_weights:
        found["model.projector_weights"] = base_digest(Path(config.model.projector_weights), cache)
    return found
