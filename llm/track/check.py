"""Whether the trackers of a recipe can be used here, before anything is trained.

Their packages are imported by processes of their own, `python -m llm.track.check NAME`: some take seconds, start
threads or change signal handlers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from llm.activity import activity
from llm.errors import ConfigError
from llm.track.feed import QUIET
from llm.track.trackers import TRACKERS

MOST_S = 120.0  # to import one and look


def check_trackers(names: Sequence[str]) -> None:
    """Raise ConfigError for trackers that are not installed, and for those that would need a login and have none."""
    missing = [name for name in names if find_spec(TRACKERS[name].package) is None]
    if missing:
        packages = " ".join(TRACKERS[name].install for name in missing)
        raise ConfigError(f"track: {', '.join(missing)} cannot be imported. Run `pip install {packages}`")
    with activity("looking at the trackers"):
        running = [(name, _start(name)) for name in names]
        problems = [f"track: {name}: {found}" for name, process in running if (found := _answer(process))]
    if problems:
        raise ConfigError("\n".join(problems))


def _start(name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "llm.track.check", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=QUIET | os.environ,
    )


def _answer(process: "subprocess.Popen[str]") -> str:
    try:
        output, errors = process.communicate(timeout=MOST_S)
        return str(json.loads(output))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"importing it took more than {MOST_S:.0f} s. Try it by itself, or take it out of `track`"
    except ValueError:
        lines = errors.strip().splitlines() or ["without a word"]
        return f"cannot be used: {lines[-1][:300]}. Install it anew, or take it out of `track`"


def main() -> None:
    """Write the problem of one tracker as JSON to standard output, where nothing else is written."""
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        output.write(json.dumps(TRACKERS[sys.argv[1]].problem()))


if __name__ == "__main__":
    main()
