"""Rows of a data set on the Hugging Face hub. No other reader uses the network."""

import re
from collections.abc import Iterator

from llm.activity import activity
from llm.errors import DataError, Place
from llm.hub_access import hub_host, local_copies_only, other_ways, why_unreachable

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.-]+)?")
BATCH = 64  # rows in memory at a time: a row may hold whole images


def is_hub_name(path: str) -> bool:
    """Whether `path` has the form `org/name` or `org/name:subset`."""
    return _NAME.fullmatch(path) is not None


def read_hub(name: str, split: str) -> Iterator[tuple[Place, object]]:
    """Yield (place, row) of `org/name[:subset]`, which `datasets` downloads once and caches; images are encoded bytes.

    Raises DataError when the hub has no such data set or cannot be reached, ImportError without `datasets`.
    """
    try:
        import datasets
        import datasets.exceptions
    except ImportError as error:
        raise ImportError(f"{name}: hub data sets need a package: pip install 'eyegraft[hub]'") from error

    repository, _, subset = name.partition(":")
    problem = ""
    try:
        with activity(f"asking {hub_host()} for {repository}"):
            problem = why_unreachable()
            with local_copies_only(problem), local_copies_only(problem, datasets.config):
                table = datasets.load_dataset(repository, subset or None, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        if problem := problem or why_unreachable():
            found = f"no local file has this name, and it could not be fetched from {hub_host()}: {problem}"
            raise DataError(f"{name}: {found}. {other_ways('dataset', repository)}") from error
        advice = "No local file has this name either. Correct the name, the subset (org/name:subset) or the split"
        raise DataError(f"{name}: the hub gave no split {split!r} ({error}). {advice}") from error
    number = 0
    # As arrow: other formats decode images here, before their size is checked.
    for batch in table.with_format("arrow").iter(batch_size=BATCH):
        for row in batch.to_pylist():
            number += 1
            yield Place(f"{name}[{split}]", id=str(row.get("id") or f"row {number}")), row
