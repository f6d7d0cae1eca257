"""Features of a ready model's frozen image side, computed once per unit (`vlm.ready.batch`) and cached on disk.

One file per unit, `<key of the image side>/<first two digits>/<sha256 of its images' bytes>`, in safetensors' format:

    rows          [R, hidden]   features in the order of the image tokens
    layer.0, ...  [R, hidden]   those of each layer of the language model that gets its own (deepstack)
    input.NAME                  the tensors of the processor from which the model computes positions, such as grids

A record whose features are cached is therefore collated without decoding an image. Files are written under another name
and then renamed; one that is cut off is computed again.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import transformers
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llm.data.corpus import Corpus
from llm.errors import ImageError
from llm.files.atomic_files import atomic_file
from llm.files.owned_files import make_owned_folder
from llm.files.regular_files import IMAGE, read_regular
from llm.formats.conversation import ImageRef
from llm.log import logger
from vlm.ready.ready_model import ImageRows, Inputs, ReadyVlm

FOLDER = ".features"  # beside the run folders, as of other vision runs
GIB = 2**30
VERSION = 1  # raise when the same key would mean other features
HEADER = 1024  # bytes of a file besides its features, about
_IN_A_TENSOR = "in_a_tensor"
Unit = tuple[ImageRef, ...]
Mode = Literal["auto", "on", "off"]


@dataclass(slots=True)
class ReadyFeatures:
    """Features of units by their key. `positions`: names of inputs that are cached too; `free_bytes` may be written."""

    folder: Path
    positions: frozenset[str]
    free_bytes: int

    def key(self, unit: Unit) -> str:
        """The key of images that are computed together. Raises ImageError when one cannot be read."""
        return hashlib.sha256(b"".join(_digest(image) for image in unit)).hexdigest()

    def get(self, key: str) -> tuple[ImageRows, Inputs] | None:
        """The features of a unit and the inputs for its positions; None if they are not cached."""
        try:
            with safe_open(self._path(key), "pt") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
                in_a_tensor = file.metadata()[_IN_A_TENSOR] == "True"
        except (OSError, SafetensorError):
            return None
        layers = tuple(found[f"layer.{number}"] for number in range(sum(name.startswith("layer.") for name in found)))
        inputs = {name.removeprefix("input."): value for name, value in found.items() if name.startswith("input.")}
        return ImageRows(found["rows"], layers, in_a_tensor), inputs

    def put(self, key: str, inputs: Inputs, rows: ImageRows) -> None:
        """Cache the features of a unit if they fit `free_bytes`; a full disk ends the caching, not the run.

        Raises RunError for a link among the cache's own folders.
        """
        tensors = {"rows": rows.rows} | {f"layer.{number}": layer for number, layer in enumerate(rows.layers)}
        tensors |= {f"input.{name}": value for name, value in inputs.items() if name in self.positions}
        length = HEADER + sum(value.numel() * value.itemsize for value in tensors.values())
        path = self._path(key)
        if self.free_bytes < length or path.exists():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, path.parent):
                make_owned_folder(folder, shared=True)
            with atomic_file(path, sync=False) as partial:
                plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
                save_file(plain, partial, {_IN_A_TENSOR: str(rows.in_a_tensor)})
        except OSError as error:
            logger.warning(f"features: no more are cached: {error}")
            self.free_bytes = 0
            return
        self.free_bytes -= length

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key


def open_ready_features(
    vlm: ReadyVlm, mode: Mode, folder: Path, units: Sequence[tuple[Unit, int]], gib: float
) -> tuple[ReadyFeatures | None, str]:
    """The cache for a run's units, each with its number of image tokens, or None, and a line for the log.

    `gib` bounds everything in `folder`. `auto` caches if the image side is frozen and the features of all distinct
    units fit the bound and half of the free disk space; `on` caches as many as fit.
    """
    if mode == "off":
        return None, "features: computed in every step (data.cache_features: off)"
    if vlm.image_side_trains:
        return None, "features: computed in every step, the image side trains"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return None, f"features: computed in every step, {folder} cannot be written: {error.strerror}"
    own = folder / image_side_key(vlm)
    used = sum(_size(file) for file in folder.rglob("*"))
    there = [_size(file) for file in own.rglob("*")] if own.exists() else []
    free = min(int(gib * GIB) - used, shutil.disk_usage(folder).free // 2)
    distinct = dict(units)
    need = HEADER * len(distinct) + sum(distinct.values()) * _row_bytes(vlm)
    if mode == "auto" and need - sum(there) > free:
        size = f"{need / GIB:.1f} GiB of them do not fit the {max(free, 0) / GIB:.1f} GiB that are left"
        return None, f"features: computed in every step, {size} (data.cache_gib)"
    cache = ReadyFeatures(own, vlm.position_inputs, max(free, 0))
    cached = sum(1 for size in there if size)
    return cache, f"features: cached in {folder}, about {need / GIB:.2f} GiB for this run; {cached:,} are there"


def corpus_units(corpus: Corpus, row_id: int) -> Iterator[tuple[Unit, int]]:
    """The units of all records with their numbers of image tokens."""
    for index in range(len(corpus)):
        sample = corpus.sample(index)
        rows = int((sample.ids == row_id).sum()) if sample.images else 0
        for unit in units_of(sample.images, bool(sample.branches)):
            yield unit, rows * len(unit) // len(sample.images)


def units_of(images: Unit, one_by_one: bool) -> tuple[Unit, ...]:
    """The images of a sample that go through the processor together."""
    if one_by_one:
        return tuple((image,) for image in images)
    return (images,) if images else ()


@torch.no_grad()
def _row_bytes(vlm: ReadyVlm) -> int:
    """Bytes of the features of one image token."""
    blank = vlm.features(vlm.processor.inputs([Image.new("RGB", (64, 64))]))
    return sum(layer.shape[-1] * layer.itemsize for layer in (blank.rows, *blank.layers))


def image_side_key(vlm: ReadyVlm) -> str:
    """A hash of everything that features depend on besides the images."""
    digest = hashlib.sha256()
    facts = (VERSION, vlm.name, vlm.hf.dtype, transformers.__version__, vlm.processor.fingerprint())
    digest.update(repr(facts).encode())
    for name, tensor in sorted(vlm.image_tensors()):
        digest.update(name.encode() + _raw(tensor))
    return digest.hexdigest()[:24]


def _digest(image: ImageRef) -> bytes:
    try:
        return hashlib.sha256(image.data or read_regular(Path(image.path), IMAGE)).digest()
    except OSError as error:
        found = f"cannot be read: {error.strerror}"
        raise ImageError(found, "Bring the file back", image.path, "image-missing") from error


def _size(file: Path) -> int:
    """Bytes of a file; 0 for a folder and for a file that another process has just renamed."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
