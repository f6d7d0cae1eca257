"""Paths as Windows writes them."""

import pytest

from llm.files.windows_paths import windows_advice


@pytest.mark.parametrize(
    ("path", "here"),
    [
        ("D:\\data\\a.json", "/mnt/d/data/a.json"),
        ("C:/Users/me/a.json", "/mnt/c/Users/me/a.json"),
        ("c:\\\\x", "/mnt/c/x"),
        ("data\\img", "data/img"),
        (".\\a.json", "./a.json"),
        ("..\\a.json", "../a.json"),
        ("\\\\server\\share", "//server/share"),
    ],
)
def test_it_is_recognized_and_written_as_here(path: str, here: str) -> None:
    assert windows_advice(path) == f"It is a path of Windows: write it as this machine has it, such as {here}"


@pytest.mark.parametrize("path", ["a.json", "/a/b", "org/name", "timm:name", "./a", "a/b\\ c", "open_clip:x@/a", "D:"])
def test_others_are_not(path: str) -> None:
    assert windows_advice(path) == ""
