"""Features of a frozen tower, computed once per image and cached on disk for later steps, stages and evaluations.

One file per image, `<tower key>/<first two digits>/<sha256 of the image's bytes>`, holds the raw features. Files are
written under another name and then renamed, so that concurrent writers and a kill leave complete files only; a file of
another length is computed again.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from llm import distributed
from llm.activity import tracked
from llm.errors import ImageError
from llm.files.atomic_files import atomic_file
from llm.files.owned_files import make_owned_folder
from llm.files.regular_files import IMAGE
from llm.formats.conversation import ImageRef
from llm.log import logger
from vlm.model.vision_model import VisionModel
from vlm.vision.images import read_image
from vlm.vision.towers import Tower
from vlm.vision.video_frames import content_hash

GIB = 2**30
VERSION = 2  # raise when the same key would mean other features


@dataclass(slots=True)
class FeatureCache:
    """Features [views, image_tokens, hidden] of one tower by image. `free_bytes` may still be written."""

    folder: Path
    image_tokens: int
    hidden: int
    dtype: torch.dtype
    free_bytes: int
    _length: int = field(init=False)

    def __post_init__(self) -> None:
        self._length = self.image_tokens * self.hidden * self.dtype.itemsize

    def key(self, image: ImageRef) -> str:
        """The image's key: the sha256 of its content. Raises ImageError when they cannot be read."""
        try:
            return content_hash(image, IMAGE)
        except OSError as error:
            found = f"cannot be read: {error.strerror}"
            raise ImageError(found, "Bring the file back", image.path, "image-missing") from error

    def get(self, key: str, views: int = 1) -> Tensor | None:
        """Features [views, image_tokens, hidden] of an image, memory-mapped, or None if they are not cached."""
        path = self._path(key)
        try:
            if path.stat().st_size != views * self._length:
                return None
            raw = np.memmap(path, np.uint8, mode="c")  # copy on write: torch wants an array that may be written
        except OSError:
            return None
        return torch.from_numpy(raw).view(self.dtype).view(views, self.image_tokens, self.hidden)

    def holds(self, key: str) -> bool:
        """Whether an image has cached features, of any number of views."""
        return (size := _size(self._path(key))) > 0 and size % self._length == 0

    def put(self, key: str, features: Tensor) -> None:
        """Cache the features of an image if they fit `free_bytes`; a full disk ends the caching, not the run.

        Raises RunError for a link among the cache's own folders.
        """
        path, length = self._path(key), features.numel() * self.dtype.itemsize
        if self.free_bytes < length or path.exists():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, path.parent):
                make_owned_folder(folder, shared=True)
            with atomic_file(path, sync=False) as partial:  # after a power cut a wrong length shows it
                partial.write_bytes(_raw(features.to(self.dtype)))
        except OSError as error:
            logger.warning(f"features: no more are cached: {error}")
            self.free_bytes = 0
            return
        self.free_bytes -= length

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key


def open_feature_cache(
    vision: VisionModel, mode: Literal["auto", "on", "off"], folder: Path, images: Sequence[ImageRef], gib: float
) -> tuple[FeatureCache | None, str]:
    """The cache for a run's images, or None, and a line for the log that says why.

    `gib` bounds everything in `folder`. `auto` caches if the tower is frozen and the features of all distinct images
    fit the bound and half of the free disk space; `on` caches as many as fit.
    """
    if mode == "off":
        return None, "features: computed in every step (data.cache_features: off)"
    if vision.tower_trains:
        return None, "features: computed in every step, the tower trains"
    tower = vision.tower
    each = tower.image_tokens * tower.hidden * tower.module.dtype.itemsize
    need = sum(image.views for image in set(images)) * each
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return None, f"features: computed in every step, {folder} cannot be written: {error.strerror}"
    used = sum(_size(file) for file in folder.rglob("*"))
    free = min(int(gib * GIB) - used, shutil.disk_usage(folder).free // 2)
    own = folder / tower_key(tower)
    sizes = [_size(file) for file in own.rglob("*") if file.is_file()] if own.exists() else []
    if mode == "auto" and need - sum(sizes) > free:
        size = f"{need / GIB:.1f} GiB of them do not fit the {max(free, 0) / GIB:.1f} GiB that are left"
        return None, f"features: computed in every step, {size} (data.cache_gib)"
    cache = FeatureCache(own, tower.image_tokens, tower.hidden, tower.module.dtype, max(free, 0))
    kib, known = round(each / 1024), f"{len(sizes):,}"
    if tower.tiling is not None:
        return cache, f"features: cached in {folder}, {kib} KiB for each view of an image; {known} images are there"
    return cache, f"features: cached in {folder}, {kib} KiB an image; {known} are there"


@torch.no_grad()
def fill_cache(cache: FeatureCache, vision: VisionModel, images: Sequence[ImageRef], lenient: bool = False) -> bool:
    """Cache the features of all these images, each process its share; whether all of them are cached now.

    Raises ImageError for an image that cannot be read; with `lenient` it is skipped, as training will skip it.
    """
    ranks, distinct = distributed.ranks(), list(dict.fromkeys(images))
    missing = 0
    for image in tracked(distinct[ranks.rank :: ranks.world], "computing features of images"):
        try:
            key = cache.key(image)
            if not cache.holds(key):
                pixels = torch.from_numpy(vision.preprocess.views(read_image(image)))
                cache.put(key, vision.exact_features(pixels.to(distributed.device())))
        except ImageError:
            if not lenient:
                raise
            continue
        missing += not cache.holds(key)
    return not int(distributed.all_reduce_sum(torch.tensor(missing)))


def tower_key(tower: Tower) -> str:
    """A hash of everything that features depend on besides the image."""
    digest = hashlib.sha256()
    facts = (VERSION, tower.kind, tower.layer, tower.dropped, tower.pool, tower.module.dtype)
    digest.update(f"{facts} {tower.preprocess.fingerprint()}".encode())
    for name, tensor in sorted(tower.module.state_dict().items()):
        digest.update(name.encode() + _raw(tensor))
    return digest.hexdigest()[:24]


def _size(file: Path) -> int:
    """Bytes of a file; 0 for a folder and for a file that another process has just renamed."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
