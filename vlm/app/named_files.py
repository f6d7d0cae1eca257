"""The files and folders that a recipe names, and which of them are not here: for the verdict of `eyegraft validate`."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm.config.schema import RunConfig, Source, run_folder
from llm.errors import ConfigError
from llm.files.regular_files import exists
from llm.files.windows_paths import windows_advice
from llm.hubs.reference import data_reference, has_prefix, model_reference
from llm.hubs.snapshot import host_of
from vlm.config import AnyConfig, EvalConfig, ExportConfig, ReadyRunConfig, VlmRunConfig

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Named:
    """A path by the key that names it; `may_be_hub`: a hub id has the same form."""

    key: str
    path: str
    may_be_hub: bool = False


def missing_files(config: AnyConfig, earlier: Sequence[AnyConfig] = ()) -> Iterator[str]:
    """A line on each path of the recipe that is not here: key, what was found, what to do.

    Runs that `earlier` steps of a pipeline will write are not looked for.
    """
    coming = {run_folder(step).absolute() for step in earlier if isinstance(step, RunConfig)}
    for named in _named(config):
        path = Path(named.path).expanduser()
        if has_prefix(named.path):
            yield f"{named.key}: {named.path}: {_of_hub(named)}"
        elif not exists(path) and path.absolute() not in coming:
            yield f"{named.key}: {named.path}: {_found(named, path)}"


def _found(named: Named, path: Path) -> str:
    if advice := windows_advice(named.path):
        return f"not here. {advice}"
    if "$" in named.path:
        return "not here; environment variables are not expanded in recipes, so write the path itself"
    if named.may_be_hub and not named.path.startswith("assets/") and not path.parent.exists() and _is_bare(named.path):
        return "no such folder here; it is taken as a hub id and will be downloaded"
    if named.path.startswith("assets/"):
        return "not here; `eyegraft assets` fetches the models and data of the quickstart"
    parent = path.parent
    if not exists(parent):
        return f"not here, nor is its folder {parent}"
    siblings = [one.name for one in parent.iterdir()] if parent.is_dir() else []
    lower = {name.lower(): name for name in siblings}
    near = lower.get(path.name.lower()) or next(iter(difflib.get_close_matches(path.name, siblings, n=1)), "")
    return f"not here; did you mean {parent / near}?" if near else f"not here; {parent} holds nothing of this name"


def _named(config: AnyConfig) -> Iterator[Named]:
    if isinstance(config, RunConfig):
        yield from _of_run(config)
    elif isinstance(config, EvalConfig):
        yield Named("run", config.run)
        if config.vqa is not None:
            yield from _of_source("vqa.source", config.vqa.source)
        if config.identity is not None:
            for key, path in config.identity.model_dump(include={"paraphrases", "others", "general"}).items():
                yield Named(f"identity.{key}", path)
        if config.benchmarks is not None:
            for number, path in enumerate(config.benchmarks.files):
                yield Named(f"benchmarks.files.{number}", path)
    elif isinstance(config, ExportConfig):
        yield Named("run", config.run)


def _of_run(config: RunConfig) -> Iterator[Named]:
    key = "model.vlm" if isinstance(config, ReadyRunConfig) else "model.llm"
    yield Named(key, config.model.llm, may_be_hub=True)
    if isinstance(config, VlmRunConfig):
        yield from _of_tower(config.model.tower)
        if config.model.projector_weights:
            yield Named("model.projector_weights", config.model.projector_weights)
    if config.start:
        yield Named("from", config.start)
    for number, source in enumerate(config.data.sources):
        yield from _of_source(f"data.sources.{number}", source)
    for number, source in enumerate(config.data.validation_sources):
        yield from _of_source(f"data.validation_sources.{number}", source)
    for number, probe in enumerate(config.train.probes):
        if probe.image:
            yield Named(f"train.probes.{number}.image", probe.image)
    if config.train.evaluate is not None:
        for number, path in enumerate(config.train.evaluate.files):
            yield Named(f"train.evaluate.files.{number}", path)


def _of_hub(named: Named) -> str:
    """What becomes of a name with a hub's prefix, or why it is none."""
    is_data = named.key.startswith(("data.", "vqa."))
    try:
        reference = data_reference(named.path) if is_data else model_reference(named.path)
    except ConfigError as error:
        return str(error).removeprefix(f"{named.path}: ")
    assert reference is not None
    return f"what is not in the cache of it is fetched from {host_of(reference)}"


def _is_bare(path: str) -> bool:
    """Whether it is taken as the name of a model or data set of the Hugging Face hub."""
    return _HUB.fullmatch(path) is not None or model_reference(path) is not None


def _of_tower(spec: str) -> Iterator[Named]:
    """The folder or file of a tower; a name that timm or open_clip knows is none."""
    maker, colon, name = spec.partition(":")
    if maker not in ("timm", "open_clip") or not colon:
        yield Named("model.tower", spec, may_be_hub=True)
    elif "@" in name or "/" in name:
        of_hub = has_prefix(name) or "@" not in name
        yield Named("model.tower", name if of_hub else name.rpartition("@")[2], may_be_hub=of_hub)


def _of_source(key: str, source: Source) -> Iterator[Named]:
    yield Named(f"{key}.path", source.path, may_be_hub=not Path(source.path).suffix)
    if source.images:
        yield Named(f"{key}.images", source.images)
