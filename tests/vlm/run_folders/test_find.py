"""Run folders below a folder: which are found, and where nobody looks."""

from pathlib import Path

from vlm.run_folders.find import DEEPEST, find_folders

NAMES = ("writer.lock", "metrics.jsonl")


def put(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("")


def found(root: Path, skipped: Path | None = None) -> set[str]:
    return {folder.relative_to(root).as_posix() for folder in find_folders(root, NAMES, skipped)}


def test_runs_are_found_at_any_depth_and_in_each_other(tmp_path: Path) -> None:
    put(tmp_path, "a/metrics.jsonl", "pipeline/report.json", "pipeline/one/writer.lock", "a/inner/metrics.jsonl")
    assert found(tmp_path) == {"a", "pipeline/one", "a/inner"}
    assert found(tmp_path / "a") == {".", "inner"} and found(tmp_path / "nowhere") == set()


def test_a_runs_own_folders_are_not_searched(tmp_path: Path) -> None:
    put(tmp_path, *(f"a/{folder}/x/metrics.jsonl" for folder in ("checkpoints", "samples", "cache", ".git")))
    assert found(tmp_path) == set()


def test_links_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/metrics.jsonl", "root/a/metrics.jsonl")
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/loop").symlink_to(tmp_path / "root")
    assert found(tmp_path / "root") == {"a"}


def test_one_folder_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a/metrics.jsonl", "service/jobs/ftjob-1/run/metrics.jsonl")
    assert found(tmp_path, tmp_path / "service") == {"a"} and found(tmp_path, tmp_path) == set()


def test_the_search_ends(tmp_path: Path) -> None:
    deep = "/".join("d" * DEEPEST)
    put(tmp_path, f"{deep}/metrics.jsonl", f"{deep}/d/metrics.jsonl")
    assert found(tmp_path) == {deep}
