"""Record the golden figures: `python -m tests.golden.record`. test_golden describes when."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.golden.work import LOSSES, RUNS, Found, make_workspace, train


def main() -> None:
    """Train every recipe and write losses.json."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder))
        train(workspace, "golden")
        found = Found.of(workspace, *RUNS)
    LOSSES.write_text(json.dumps(asdict(found), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(LOSSES)


if __name__ == "__main__":
    main()
