"""PyPI's package `llm` in the same environment is named before any import can fail because of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlm.app.installation import OURS, other_llm

ROOT = Path(__file__).resolve().parents[3]


def run(*folders: Path) -> subprocess.CompletedProcess[str]:
    """`python -m vlm.app ls` with folders on the path, in a process of its own."""
    path = ":".join(map(str, folders))
    command = [sys.executable, "-P", "-m", "vlm.app", "ls", "quickstart"]
    return subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, cwd="/")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with PyPI's package as pip installs it: metadata, and a package without our modules."""
    metadata = tmp_path / "llm-0.27.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: llm\nVersion: 0.27.1\n")
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "__init__.py").write_text("from .plugins import pm\n")
    return tmp_path


def test_no_other_llm_is_installed_here() -> None:
    assert other_llm() == ""
    done = run(ROOT)
    assert (
        done.returncode == 0 and done.stderr.startswith("next: eyegraft show") and "quickstart/finetune" in done.stdout
    )


@pytest.mark.parametrize("first", [True, False])
def test_the_installed_package_is_named(other: Path, first: bool) -> None:
    """Before ours on the path it would be imported; after ours it is another installation's turn to fail."""
    done = run(*((other, ROOT) if first else (ROOT, other)))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"error: the package llm 0.27.1 is installed in {other}. ")
    assert "Traceback" not in done.stderr
    assert "environment of its own: python -m venv" in done.stderr


def test_a_folder_that_shadows_ours_is_named(other: Path) -> None:
    (other / "llm-0.27.1.dist-info" / "METADATA").unlink()
    (other / "llm-0.27.1.dist-info").rmdir()
    done = run(other, ROOT)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith(
        f"error: `import llm` finds {other / 'llm' / '__init__.py'}, not Eyegraft's own {OURS}."
    )
