"""The site builds strictly: no broken link, no missing page, both languages."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT


def test_the_site_builds_strictly_in_both_languages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    english = (tmp_path / "reference/recipe/index.html").read_text(encoding="utf-8")
    chinese = (tmp_path / "zh/reference/recipe/index.html").read_text(encoding="utf-8")
    assert "train.pack_tokens" in english and "train.pack_tokens" in chinese
    assert '<html lang="zh"' in chinese
