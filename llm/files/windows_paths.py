"""Paths of Windows in recipes and data that are used on Linux: how they are recognized, and what to write instead."""

import re

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\|\.{0,2}\\|[^/]*\\")
_DRIVE = re.compile(r"([A-Za-z]):[\\/]+")


def is_windows_path(path: str) -> bool:
    """Whether the path has a drive letter, or backslashes and no slash before them."""
    return _WINDOWS.match(path) is not None


def windows_advice(path: str) -> str:
    """A sentence on a path of Windows, with the path as WSL mounts it; empty for another path."""
    if not is_windows_path(path):
        return ""
    here = _DRIVE.sub(lambda drive: f"/mnt/{drive[1].lower()}/", path).replace("\\", "/")
    return f"It is a path of Windows: write it as this machine has it, such as {here}"
