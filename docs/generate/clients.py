"""The table of clients that `make clients` tried, from its result."""

import json
from pathlib import Path

RESULT = Path(__file__).parent.parent / "reference" / "clients.json"


def clients() -> str:
    """One row a client: its version, and the outcome of each check."""
    tried = json.loads(RESULT.read_text(encoding="utf-8"))["clients"]
    rows = [f"| `{one['client']}` | {one['version']} | {_outcomes(one['checks'])} |" for one in tried]
    return "\n".join(["| client | version | checks |", "|---|---|---|", *rows])


def _outcomes(checks: dict[str, str]) -> str:
    passed = ", ".join(check for check, outcome in checks.items() if outcome == "passed")
    failed = "; ".join(f"{check}: {outcome}" for check, outcome in checks.items() if outcome != "passed")
    return f"{passed} passed" + (f"; not passed: {failed}" if failed else "")
