"""The checks of one client: functions that raise when something is wrong. Their outcomes are printed as JSON."""

import base64
import json
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

TEXT_MODEL, IMAGE_MODEL = "text", "eyes"
QUESTION = "What is it?"
Check = Callable[[str, str], None]  # of the API's address and an image as a data URL


def main(package: str, checks: dict[str, Check]) -> None:
    """Run the checks against the address of the command line and print `{"client", "version", "checks"}`."""
    url, image = sys.argv[1], Path(sys.argv[2])
    shown = f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"
    found = {name: _outcome(check, url, shown) for name, check in checks.items()}
    print(json.dumps({"client": package, "version": version(package), "checks": found}))


def _outcome(check: Check, url: str, image: str) -> str:
    """`passed`, or the last line of what was raised."""
    try:
        check(url, image)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a client may raise anything, and the others go on
        traceback.print_exc()
        return (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
    return "passed"
