"""Provenance of a run: hashes of the data, base models, tokenizer and template it was begun with, and its recipe.

Every checkpoint holds them, since its weights, moments and step number mean nothing with others. Files of weights are
hashed completely (a sample of their bytes would miss a flipped one): once, and again when a file's size, times or inode
changed. Damage that leaves all of these as they were is not noticed.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from llm.config.schema import ParallelConfig, RunConfig
from llm.config.yaml_loader import load_yaml, resolve_yaml, validate
from llm.data.corpus import Corpus
from llm.encoding.encoder import Encoder
from llm.errors import CheckpointError, ConfigError, ModelError, RunError
from llm.files.atomic_files import write_atomically
from llm.files.regular_files import RECIPE, SETTINGS, open_regular, read_text

STORE = "digests.json"
BASE_FILES = ("config.json", "open_clip_config.json", "*.safetensors", "*.bin", "*.index.json")
ADVICE = (
    "the steps to come would not be the ones that were planned. Bring it back, choose another `out`, or add --anyway "
    "to go on"
)

ENCODED = ", or another version of Eyegraft encoded its records to other ids"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Hashes by name (`data`, `model.llm`, `tokenizer`, ...), and the recipe."""

    hashes: dict[str, str]
    config: RunConfig

    @classmethod
    def of(cls, config: RunConfig, bases: dict[str, str], encoder: Encoder, corpus: Corpus) -> Self:
        """That of a run: `bases` are the hashes of the models it starts from, by recipe key."""
        return cls(bases | encoder.hashes() | {"data": corpus.digest()}, config)

    def state(self) -> dict[str, Any]:
        """Its part of a checkpoint's state."""
        return {"ground": self.hashes, "recipe": self.config.model_dump(mode="json", by_alias=True)}

    def refuse_changed(self, checkpoint: Path, saved: Mapping[str, Any]) -> None:
        """Raise CheckpointError naming what differs from a checkpoint's state; what an old one lacks is ignored."""
        before: dict[str, str] = {"data": saved["data"]} if "data" in saved else {}
        before |= saved.get("ground", {})
        for name, digest in self.hashes.items():
            if before.get(name, digest) != digest:
                what, why = ("the training data", ENCODED) if name == "data" else (name, "")
                raise CheckpointError(
                    f"{checkpoint}: {what} changed since the run began ({before[name]} then, {digest} now){why}: "
                    f"{ADVICE}"
                )
        lost = sorted(before.keys() - self.hashes.keys())
        if lost:
            raise CheckpointError(f"{checkpoint}: {', '.join(lost)} is no part of this run any more: {ADVICE}")
        if "recipe" in saved:
            self._refuse_other_recipe(checkpoint, saved["recipe"])

    def same_data(self, saved: Mapping[str, Any]) -> bool:
        """Whether the checkpoint is of this run's records; true for an old one without their hash."""
        return bool(saved.get("ground", saved).get("data", self.hashes["data"]) == self.hashes["data"])

    def _refuse_other_recipe(self, checkpoint: Path, saved: dict[str, Any]) -> None:
        try:  # through the schema: an option that is newer than the checkpoint had its default then
            old = comparable(type(self.config).model_validate(saved, by_alias=True))
        except ValidationError as error:
            raise CheckpointError(f"{checkpoint}: its recipe is of another version ({error}): {ADVICE}") from error
        if changed := changed_lines(old, comparable(self.config)):
            raise CheckpointError(f"{checkpoint}: the recipe changed since it was written:\n{changed}\n{ADVICE}")


def comparable(config: RunConfig) -> str:
    """A recipe as text, without what may change during a run: `parallel` and `track`."""
    return resolve_yaml(config.model_copy(update={"parallel": ParallelConfig(), "track": ()}))


def changed_lines(old: str, new: str) -> str:
    """The lines of two recipes that only one of them holds; empty for equal ones."""
    before, after = set(old.splitlines()), set(new.splitlines())
    lines = [f"  was: {line.strip()}" for line in old.splitlines() if line not in after]
    lines += [f"  now: {line.strip()}" for line in new.splitlines() if line not in before]
    return "\n".join(lines) or ("" if old == new else "  the same lines in another order")


def completed(recipe: Path, kind: type[RunConfig]) -> str:
    """A run folder's recipe as `comparable` text, with defaults for newer options; its own text if it is invalid."""
    try:
        return comparable(validate(load_yaml(recipe), kind))
    except ConfigError:
        pass
    try:
        return read_text(recipe, RECIPE, errors="replace")
    except OSError as error:
        raise RunError(f"{recipe}: cannot be read: {error.strerror}. Bring it back, or choose another `out`") from error


def base_digest(base: Path, cache: Path) -> str:
    """A hash of a model folder's config and weights, or of one file of weights. Digests of files are cached."""
    files = [base] if base.is_file() else sorted({file for name in BASE_FILES for file in base.glob(name)})
    known = _known(cache / STORE)
    with ThreadPoolExecutor(4) as pool:  # hashing releases the interpreter's lock
        fresh = dict(pool.map(lambda file: _entry(file, known), files))
    if fresh.items() - known.items():
        _remember(cache / STORE, known | fresh)
    parts = [(file.name, fresh[str(file.resolve())][1]) for file in files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _entry(file: Path, known: Mapping[str, tuple[str, str]]) -> tuple[str, tuple[str, str]]:
    """(path, (stamp of size, times and inode, sha256))."""
    try:
        path, found = str(file.resolve()), file.stat()
        stamp = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
        if path in known and known[path][0] == stamp:
            return path, known[path]
        with open_regular(file) as stream:
            return path, (stamp, hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}. Bring it back, or name another model") from error


def _known(store: Path) -> dict[str, tuple[str, str]]:
    """Cached digests; none where the file is missing or invalid, since they can be computed again."""
    try:
        read = json.loads(read_text(store, SETTINGS))
        return {str(path): (str(stamp), str(digest)) for path, (stamp, digest) in read.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _remember(store: Path, digests: dict[str, tuple[str, str]]) -> None:
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(store, json.dumps(digests, indent=1))
    except OSError as error:
        raise RunError(f"{store}: cannot be written: {error}. Choose another `out` or data.cache") from error
