"""What a frozen tower makes of a picture, computed once and kept on disk for every later step, stage and evaluation.

One file a picture, `<tower key>/<first two digits>/<sha256 of the picture's bytes>`, holding the raw rows. A file is
written under another name and then renamed, so writers at the same time and a kill leave whole files only; a file of
any other length is computed again.
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
from llm.errors import ImageError
from llm.files.atomic_files import atomic_file
from llm.files.owned_files import make_owned_folder
from llm.files.regular_files import IMAGE, read_regular
from llm.formats.conversation import ImageRef
from llm.log import logger
from vlm.model.vision_model import VisionModel
from vlm.vision.images import read_image
from vlm.vision.towers import Tower

GIB = 2**30
VERSION = 2  # raise when the same key would mean other rows


@dataclass(slots=True)
class FeatureStore:
    """Features [rows, hidden] of one tower, by picture. `room` is how many bytes may still be written."""

    folder: Path
    rows: int
    hidden: int
    dtype: torch.dtype
    room: int
    _length: int = field(init=False)

    def __post_init__(self) -> None:
        self._length = self.rows * self.hidden * self.dtype.itemsize

    def name(self, image: ImageRef) -> str:
        """What a picture is known by: its bytes. Raises ImageError where there are none."""
        try:
            return hashlib.sha256(image.data or read_regular(Path(image.path), IMAGE)).hexdigest()
        except OSError as error:
            found = f"cannot be read: {error.strerror}"
            raise ImageError(found, "Bring it back or drop the record", image.path, "image-missing") from error

    def get(self, name: str) -> Tensor | None:
        """The rows of a picture, mapped from the disk, or None where they are not there."""
        path = self._path(name)
        try:
            if path.stat().st_size != self._length:
                return None
            raw = np.memmap(path, np.uint8, mode="c")  # copy on write: torch wants an array that may be written
        except OSError:
            return None
        return torch.from_numpy(raw).view(self.dtype).view(self.rows, self.hidden)

    def put(self, name: str, features: Tensor) -> None:
        """Keep the rows of a picture while there is room; a full disk ends the keeping, not the run.

        Raises RunError for a link among the store's own folders.
        """
        path = self._path(name)
        if self.room < self._length or path.exists():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, path.parent):
                make_owned_folder(folder, shared=True)
            with atomic_file(path, sync=False) as partial:  # what a power cut leaves has another length
                partial.write_bytes(_raw(features.to(self.dtype)))
        except OSError as error:
            logger.warning(f"features: no more are kept, {error}")
            self.room = 0
            return
        self.room -= self._length

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name


def open_store(
    vision: VisionModel, mode: Literal["auto", "on", "off"], folder: Path, images: Sequence[str], gib: float
) -> tuple[FeatureStore | None, str]:
    """The store for a run's pictures, or None, and why. `gib` bounds all that lies in `folder`.

    `auto` keeps features when the tower is frozen and those of all distinct pictures fit the bound and half of the free
    disk; `on` keeps as many as fit.
    """
    if mode == "off":
        return None, "features: computed in every step (data.cache_features: off)"
    if vision.tower_trains:
        return None, "features: computed in every step, the tower trains"
    tower = vision.vision
    each = tower.rows * tower.hidden * tower.module.dtype.itemsize
    need = len(set(images)) * each
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return None, f"features: computed in every step, {folder} cannot be written: {error.strerror}"
    there = sum(_size(file) for file in folder.rglob("*"))
    room = min(int(gib * GIB) - there, shutil.disk_usage(folder).free // 2)
    own = folder / tower_key(tower)
    kept = sum(1 for file in own.rglob("*") if file.is_file()) if own.exists() else 0
    if mode == "auto" and need - kept * each > room:
        size = f"{need / GIB:.1f} GiB of them do not fit the {max(room, 0) / GIB:.1f} GiB that are left"
        return None, f"features: computed in every step, {size} (data.cache_gib)"
    store = FeatureStore(own, tower.rows, tower.hidden, tower.module.dtype, max(room, 0))
    return store, f"features: kept in {folder}, {each / 1024:.0f} KiB a picture; {kept:,} are there"


@torch.no_grad()
def fill(store: FeatureStore, vision: VisionModel, images: Sequence[str], lenient: bool = False) -> bool:
    """Keep the features of all these pictures, each process its share; whether all are there now.

    Raises ImageError for one that cannot be read; `lenient` leaves it out, as the steps will.
    """
    ranks, pictures = distributed.ranks(), [ImageRef(path) for path in dict.fromkeys(images)]
    missing = 0
    for picture in pictures[ranks.rank :: ranks.world]:
        try:
            name = store.name(picture)
            if store.get(name) is None:
                pixels = torch.from_numpy(vision.preprocess(read_image(picture)))[None]
                store.put(name, vision.apart(pixels.to(distributed.device()))[0])
        except ImageError:
            if not lenient:
                raise
            continue
        missing += store.get(name) is None
    return not int(distributed.all_reduce_sum(torch.tensor(missing)))


def tower_key(tower: Tower) -> str:
    """A hash of everything the rows of a picture depend on besides the picture."""
    digest = hashlib.sha256()
    facts = (VERSION, tower.kind, tower.layer, tower.dropped, tower.pool, tower.module.dtype)
    digest.update(f"{facts} {tower.preprocess.fingerprint()}".encode())
    for name, tensor in sorted(tower.module.state_dict().items()):
        digest.update(name.encode() + _raw(tensor))
    return digest.hexdigest()[:24]


def _size(file: Path) -> int:
    """Bytes of a file; 0 for a folder, and for what another process has just renamed."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
