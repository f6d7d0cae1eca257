"""Messages for visitors without the folders of the server."""

import re
from pathlib import Path

_FOLDERS = re.compile(r"""(?<![\w.:/~-])/(?:[^\s/:;,'"()<>|]+/)+""")  # of an absolute path; not of a URL


def hide_folders(text: str, *roots: Path) -> str:
    """The text with paths below one of `roots` relative to it, and other absolute paths cut to their last part."""
    for root in sorted(map(Path.absolute, roots), key=lambda root: len(root.parts)):
        text = text.replace(f"{root}/", "") if len(root.parts) > 1 else text
    return _FOLDERS.sub("", text)
