"""Messages for visitors name files without the folders of the server."""

from pathlib import Path

import pytest

from demo.visible_paths import hide_folders


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("/srv/vlm/runs/a/config.yaml:3: broken", "runs/a/config.yaml:3: broken"),
        ("/data/runs/b/x.json: denied ([Errno 13] '/data/runs/b')", "b/x.json: denied ([Errno 13] 'b')"),
        ("/etc/secret/qa.json: no such file (/etc/secret/qa.json)", "qa.json: no such file (qa.json)"),
        ("`/etc/qa.json:3` · 7 tokens", "`qa.json:3` · 7 tokens"),
        ("runs/a/config.yaml and ../b/c.json", "runs/a/config.yaml and ../b/c.json"),
        ("images/猫.png, a/b or c", "images/猫.png, a/b or c"),
        ("http://a.b/c/d.html or data:image/png;base64,", "http://a.b/c/d.html or data:image/png;base64,"),
        ("open /?token=TOKEN", "open /?token=TOKEN"),
    ],
)  # fmt: skip
def test_absolute_paths_are_shortened(message: str, shown: str) -> None:
    assert hide_folders(message, Path("/srv/vlm"), Path("/data/runs")) == shown


def test_a_root_inside_another_is_shown_relative_to_the_outer_one() -> None:
    for roots in ((Path("/srv"), Path("/srv/runs")), (Path("/srv/runs"), Path("/srv"))):
        assert hide_folders("/srv/runs/a b/config.yaml", *roots) == "runs/a b/config.yaml"


def test_the_file_system_root_is_no_root() -> None:
    assert hide_folders("/srv/a and b/c", Path("/")) == "a and b/c"
