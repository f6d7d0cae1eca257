"""`make attack`: every known attack on a real `eyegraft web --public`, `eyegraft service` and the commands.

Cancellations, bodies, sockets and events against the server over loopback; hostile folders, data and servers against
the commands; hostile texts, archives and requests against the training service. It takes about fifteen minutes.
Afterwards the server must answer and use at most 200 MB more than after its first answers, and no canary
may have been read or run. Writes benchmarks/results/attack.json; the exit code is 1 if a guarantee did not hold.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.attack.local import attack_commands
from tests.attack.remote import BODIES, attack_server
from tests.attack.result import AttackResult
from tests.attack.service import attack_service
from tests.attack.target import Target
from tests.soak.table import revision

RESULTS = Path("benchmarks/results/attack.json")
GROWTH = 200 * 10**6  # bytes


def main() -> None:
    """Attack, print the results and write them."""
    options = _options()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="eyegraft-attack-") as folder, Target(Path(folder)) as target:
        settled = target.settled_bytes()
        found = [*attack_server(target, options.stops), *attack_commands(target), *attack_service()]
        grown = target.settled_bytes() - settled
        found.append(AttackResult("the server answers", target.answers(), "a question is answered afterwards"))
        found.append(AttackResult("memory", grown < GROWTH, f"{grown / 1e6:+.0f} MB of at most {GROWTH / 1e6:+.0f}"))
        found.append(AttackResult("canaries", not target.canaries(), f"read or run: {target.canaries() or 'none'}"))
        ended, seconds = target.end()
        found.append(
            AttackResult("SIGTERM", ended and seconds < 5, f"{seconds:.1f} s, uploads and work folder gone: {ended}")
        )
    for one in found:
        print(f"{'ok ' if one.held else 'NOT'} {one.name}: {one.figure}")
    options.out.write_text(json.dumps(_document(found, began, options.stops), indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(one.held for one in found))


def _document(found: list[AttackResult], began: float, stops: int) -> dict[str, object]:
    return {
        "command": f"python -m tests.attack --stops {stops}",
        "revision": revision(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "seconds": round(time.perf_counter() - began),
        "bodies": sorted(BODIES),
        "found": [asdict(one) for one in found],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=500, help="answers to cancel, on page and API together")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
