"""An environment of evaluation programs is made once for each file of requirements, and where not, says why."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.evaluators import environments
from tests.evaluators.environments import NAMES, REQUIREMENTS, NoEnvironment, folder_of, is_ready, make, why_missing


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of requirements that names nothing, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "core.txt").write_text("# nothing\n")
    return tmp_path


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the only place where packages can be had."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    for name, value in {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(name, value)
    return folder


def write_wheel(folder: Path) -> None:
    """The package thing 1.0, whose module is a line."""
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "VALUE = 7\n")
        inside = {
            "METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        for name, text in inside.items():
            wheel.writestr(f"thing-1.0.dist-info/{name}", text)
        wheel.writestr("thing-1.0.dist-info/RECORD", "")


def test_it_is_made_once_and_found_by_another_clone(requirements: Path, tmp_path: Path) -> None:
    folder = make("core", requirements)
    asked = [str(folder / "bin" / "python"), "-c", "import sys; print(sys.prefix)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == str(folder)
    assert folder.is_relative_to(tmp_path / "cache") and why_missing("core", requirements) == ""
    made = (folder / "ready").stat().st_mtime_ns, (folder / "pyvenv.cfg").stat().st_mtime_ns
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "core.txt").write_bytes((requirements / "core.txt").read_bytes())
    assert make("core", clone) == folder
    assert ((folder / "ready").stat().st_mtime_ns, (folder / "pyvenv.cfg").stat().st_mtime_ns) == made


def test_other_requirements_are_another_environment(requirements: Path) -> None:
    before = folder_of("core", requirements)
    (requirements / "core.txt").write_text("# other\n")
    assert folder_of("core", requirements) != before
    assert "makes it" in why_missing("core", requirements)


def test_a_half_made_one_is_made_anew(requirements: Path) -> None:
    folder = folder_of("core", requirements)
    (folder / "bin").mkdir(parents=True)
    (folder / "left").write_text("by a killed installation")
    assert not is_ready(folder)
    assert is_ready(make("core", requirements)) and not (folder / "left").exists()


def test_a_missing_package_is_the_reason_until_it_can_be_had(requirements: Path, wheels: Path) -> None:
    (requirements / "core.txt").write_text("thing==1.0\n")
    with pytest.raises(NoEnvironment, match=r"core.txt: pip could not install it, its last line is: .*thing==1\.0"):
        make("core", requirements)
    folder = folder_of("core", requirements)
    assert "thing==1.0" in why_missing("core", requirements) and not is_ready(folder)
    write_wheel(wheels)
    assert make("core", requirements) == folder and why_missing("core", requirements) == ""
    asked = [str(folder / "bin" / "python"), "-c", "import thing; print(thing.VALUE)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "7\n"


@pytest.mark.parametrize(("optional", "status"), [(["--optional"], 0), ([], 1)])
def test_the_command_reports_a_failure(
    optional: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(name: str) -> Path:
        raise NoEnvironment(f"{name}: no registry")

    monkeypatch.setattr(environments, "make", fails)
    assert environments.main([*optional, "core"]) == status
    printed = capsys.readouterr().err
    assert "core: no registry" in printed and ("Their tests are skipped" in printed) == (status == 0)


def test_every_requirement_has_a_version() -> None:
    for name in NAMES:
        lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        packages = [line for line in lines if not line.startswith("#")]
        assert len(packages) > 100 and all(line.count("==") == 1 for line in packages), name


def test_making_environments_needs_no_package() -> None:
    """It runs before anything of another's is there."""
    loaded = "import tests.evaluators.environments, sys; print(*{one.partition('.')[0] for one in sys.modules})"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "transformers", "PIL"} & {*done.stdout.split()}
