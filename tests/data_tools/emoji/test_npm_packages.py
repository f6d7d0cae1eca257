"""Packages of npm: verified, unpacked in part, and errors in words."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from data_tools.emoji.npm_packages import NpmBundle, NpmPackage
from data_tools.emoji.world import PACKAGES
from llm.errors import AssetError
from tests.data_tools.emoji.tiny_packages import tiny_package

FILE = "maker-tiny-1.0.0.tgz"


def archive(path: Path, *extra: tarfile.TarInfo) -> str:
    """Write an npm archive; its sha256."""
    with tarfile.open(path, "w:gz") as file:
        for name in ("package/kept/a.txt", "package/left/b.txt", "package/LICENSE"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            file.addfile(info, io.BytesIO(name.encode()))
        for info in extra:
            file.addfile(info)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def package(tmp_path: Path) -> NpmPackage:
    """A package in the downloads."""
    (tmp_path / "downloads").mkdir()
    return tiny_package("@maker/tiny@1.0.0", FILE, archive(tmp_path / "downloads" / FILE))


def answers(monkeypatch: pytest.MonkeyPatch, code: int, said: str, made: bytes | None = None) -> list[list[str]]:
    """npm that answers so, and writes the archive."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if made is not None:
            [into] = [part.partition("=")[2] for part in command if part.startswith("--pack-destination=")]
            (Path(options["cwd"]) / into / FILE).write_bytes(made)  # npm reads a relative path from its own folder
        return subprocess.CompletedProcess(command, code, said, "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return calls


def test_wanted_files_alone_are_unpacked(package: NpmPackage, tmp_path: Path) -> None:
    bundle = NpmBundle((package,))
    bundle.obtain(tmp_path / "downloads")
    bundle.unpack(tmp_path / "downloads", tmp_path / "unpacked")
    found = {path.relative_to(tmp_path / "unpacked").as_posix() for path in (tmp_path / "unpacked").rglob("*.*")}
    assert found == {"tiny/kept/a.txt"}
    assert (tmp_path / "unpacked" / "tiny" / "LICENSE").read_text() == "package/LICENSE"


def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("package/kept/../../../out.txt")
    sha256 = archive(tmp_path / FILE, info)
    with pytest.raises(AssetError, match="cannot be unpacked"):
        tiny_package("@maker/tiny@1.0.0", FILE, sha256).unpack(tmp_path / FILE, tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("relative", [True, False])
def test_fetched_once_with_npm(
    relative: bool, package: NpmPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "downloads" / FILE
    published = file.read_bytes()
    file.unlink()
    calls = answers(monkeypatch, 0, "[]", published)
    monkeypatch.chdir(tmp_path)
    downloads = Path("downloads") if relative else tmp_path / "downloads"
    for _ in range(2):
        assert package.obtain(downloads).resolve() == file
    [command] = calls
    assert command[:2] == ["/bin/npm", "pack"] and command[-1] == "@maker/tiny@1.0.0"
    assert "--ignore-scripts" in command
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [FILE]


def test_another_archive_is_refused(package: NpmPackage, tmp_path: Path) -> None:
    (tmp_path / "downloads" / FILE).write_bytes(b"another")
    with pytest.raises(AssetError, match="sha256 is .* the published @maker/tiny@1.0.0 has"):
        package.obtain(tmp_path / "downloads")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"error": {"code": "ETARGET", "summary": "No matching version found."}}', "No matching version found. Check"),
        ("not JSON", "no error message. Check"),
        ("[]", "no error message. Check"),
    ],
)
def test_npms_reason_is_reported(
    said: str, reason: str, package: NpmPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "downloads" / FILE).unlink()
    answers(monkeypatch, 1, said)
    with pytest.raises(AssetError, match=f"npm could not download it: {reason}"):
        package.obtain(tmp_path / "downloads")


def test_without_npm_the_archive_may_be_put_there_by_hand(
    package: NpmPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    package.obtain(tmp_path / "downloads")
    (tmp_path / "downloads" / FILE).unlink()
    with pytest.raises(AssetError, match=f"needs npm. Install Node.js, or put {FILE} at .*downloads/{FILE} by hand"):
        package.obtain(tmp_path / "downloads")


def test_all_packages_are_pinned_and_none_is_of_a_set_that_may_not_be_used() -> None:
    for package in PACKAGES.packages:
        scope_and_name, _, version = package.requirement.rpartition("@")
        assert package.file == f"{scope_and_name.lstrip('@').replace('/', '-')}-{version}.tgz"
        assert len(package.sha256) == 64
        assert not any(maker in package.requirement for maker in ("apple", "facebook"))
    other = NpmBundle(PACKAGES.packages[1:])
    assert other.sha256 != PACKAGES.sha256
