"""`start.json`: what the wrapper runs."""

import json

from llm.files.atomic_files import write_atomically
from vlm.service.attempts.wrapper import START
from vlm.service.engines.engine import Start


def write_start(start: Start, stops_itself: bool = False) -> None:
    """Write the command of an attempt into its folder. `stops_itself`: it looks for the file `stop`."""
    start.folder.mkdir(parents=True, exist_ok=True)
    found = {
        "attempt": start.attempt.name,
        "command": list(start.command),
        "environment": dict(start.environment),
        "cwd": str(start.cwd),
        "stops_itself": stops_itself,
    }
    write_atomically(start.folder / START, json.dumps(found))
