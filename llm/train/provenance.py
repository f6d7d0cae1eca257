"""What a run stands on besides its own weights: base models, tokenizer, template and recipe, kept in its checkpoints.

A resumed run goes on from numbers that only mean something on the same ground. Weights are hashed whole (a sample of
their bytes would miss a flipped one): once, and again when a file's size, times or inode changed. What damages a file
and leaves all of these as they were is not seen.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llm.config.schema import ParallelConfig, RunConfig
from llm.config.yaml_loader import load_yaml, resolve_yaml, validate
from llm.errors import CheckpointError, ConfigError, ModelError, RunError
from llm.files.atomic_files import write_atomically
from llm.files.regular_files import RECIPE, SETTINGS, open_regular, read_text

STORE = "digests.json"
BASE_FILES = ("config.json", "open_clip_config.json", "*.safetensors", "*.bin", "*.index.json")
ADVICE = (
    "the steps to come would not be the ones that were planned. Bring it back, choose another `out`, or add --anyway "
    "to go on"
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Hashes by what they are of (`data`, `model.llm`, `tokenizer`, ...), and the recipe."""

    hashes: dict[str, str]
    config: RunConfig

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"ground": self.hashes, "recipe": self.config.model_dump(mode="json", by_alias=True)}

    def refuse_changed(self, checkpoint: Path, saved: Mapping[str, Any]) -> None:
        """Raise CheckpointError naming what differs from the checkpoint's; what an old one did not keep may be any."""
        before: dict[str, str] = {"data": saved["data"]} if "data" in saved else {}
        before |= saved.get("ground", {})
        for name, digest in self.hashes.items():
            if before.get(name, digest) != digest:
                what = "the training data" if name == "data" else name
                raise CheckpointError(
                    f"{checkpoint}: {what} changed since the run began ({before[name]} then, {digest} now): {ADVICE}"
                )
        lost = sorted(before.keys() - self.hashes.keys())
        if lost:
            raise CheckpointError(f"{checkpoint}: {', '.join(lost)} is no part of this run any more: {ADVICE}")
        if "recipe" in saved:
            self._refuse_other_recipe(checkpoint, saved["recipe"])

    def same_data(self, saved: Mapping[str, Any]) -> bool:
        """Whether the checkpoint's records are this run's; one that did not keep it is believed."""
        return bool(saved.get("ground", saved).get("data", self.hashes["data"]) == self.hashes["data"])

    def _refuse_other_recipe(self, checkpoint: Path, saved: dict[str, Any]) -> None:
        try:  # through the schema: an option that is newer than the checkpoint had its default then
            old = comparable(type(self.config).model_validate(saved, by_alias=True))
        except ValidationError as error:
            raise CheckpointError(f"{checkpoint}: its recipe is of another version ({error}): {ADVICE}") from error
        if changed := changed_lines(old, comparable(self.config)):
            raise CheckpointError(f"{checkpoint}: the recipe changed since it was written:\n{changed}\n{ADVICE}")


def comparable(config: RunConfig) -> str:
    """A recipe as text, without what is free to change on the way: how many processes share the work, and how."""
    return resolve_yaml(config.model_copy(update={"parallel": ParallelConfig()}))


def changed_lines(old: str, new: str) -> str:
    """The lines of two recipes that only one of them holds; empty for equal ones."""
    before, after = set(old.splitlines()), set(new.splitlines())
    lines = [f"  was: {line.strip()}" for line in old.splitlines() if line not in after]
    lines += [f"  now: {line.strip()}" for line in new.splitlines() if line not in before]
    return "\n".join(lines) or ("" if old == new else "  the same lines in another order")


def completed(recipe: Path, kind: type[RunConfig]) -> str:
    """A kept recipe, comparable, options newer than it at their defaults; as it stands where that fails."""
    try:
        return comparable(validate(load_yaml(recipe), kind))
    except ConfigError:
        pass
    try:
        return read_text(recipe, RECIPE, errors="replace")
    except OSError as error:
        raise RunError(f"{recipe}: cannot be read: {error.strerror}. Bring it back, or choose another `out`") from error


def base_digest(base: Path, cache: Path) -> str:
    """A hash of a model folder's config and weights, or of one file of weights. What is known lies in `cache`."""
    files = [base] if base.is_file() else sorted({file for name in BASE_FILES for file in base.glob(name)})
    known = _known(cache / STORE)
    with ThreadPoolExecutor(4) as pool:  # hashing leaves the interpreter's lock: shards at a time
        fresh = dict(pool.map(lambda file: _entry(file, known), files))
    if fresh.items() - known.items():
        _remember(cache / STORE, known | fresh)
    parts = [(file.name, fresh[str(file.resolve())][1]) for file in files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _entry(file: Path, known: Mapping[str, tuple[str, str]]) -> tuple[str, tuple[str, str]]:
    """(where it lies, (its stamp, its sha256))."""
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
    """Earlier digests; none where there is no file, or a torn one: they are only made again."""
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
