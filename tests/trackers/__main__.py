"""Feed every tracker for real in an environment that has them all, read back what each stored, and write the outcome.

python -m tests.trackers build/trackers/bin/python
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from llm.track.trackers import TRACKERS
from tests.soak.table import revision

RESULTS = Path("benchmarks/results/trackers.json")
TESTS = ("tests/trackers/test_stored.py", "tests/trackers/test_contract.py")
VERSIONS = """
import json, sys
from importlib.metadata import version
print(json.dumps({name: version({"mlflow": "mlflow-skinny"}.get(name, name)) for name in sys.argv[1:]}))
"""


def main() -> None:
    """Run the tests there, print and write their outcomes; exits with 1 unless all passed, none skipped."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="eyegraft-trackers-") as name:
        report = Path(name) / "report.xml"
        command = [options.python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *TESTS]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": os.getcwd()}, check=False)
        outcomes = {case.attrib["name"]: _outcome(case) for case in ElementTree.parse(report).iter("testcase")}
    document = {
        "revision": revision(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": _versions(options.python),
        "tests": outcomes,
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sys.exit(not outcomes or set(outcomes.values()) != {"passed"})


def _outcome(case: ElementTree.Element) -> str:
    return next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")


def _versions(python: str) -> Any:
    done = subprocess.run([python, "-c", VERSIONS, *TRACKERS], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="interpreter of the trackers' environment")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
