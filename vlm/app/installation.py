"""PyPI's package `llm` has a folder of the same name as ours: found before the first import from either."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

OURS = Path(__file__).resolve().parents[2] / "llm"
OWN_ENVIRONMENT = (
    "Install Eyegraft in an environment of its own: "
    "python -m venv eyegraft-env && eyegraft-env/bin/pip install eyegraft"
)


def refuse_other_llm() -> None:
    """Exit with a message and code 1 if `import llm` does not, or need not, give Eyegraft's own package."""
    if fault := other_llm():
        sys.exit(f"error: {fault}")


def other_llm() -> str:
    """What else is called `llm` in this environment, and what to do; empty if nothing is."""
    try:
        other = distribution("llm")
    except PackageNotFoundError:
        return _shadowed()
    return (
        f"the package llm {other.version} is installed in {other.locate_file('')}. It is another project, and its "
        f"folder `llm` has the same name as one of Eyegraft's: Python can import only one. {OWN_ENVIRONMENT}"
    )


def _shadowed() -> str:
    spec = find_spec("llm")
    if spec is None or spec.origin is None or Path(spec.origin).resolve().parent == OURS:
        return ""
    return (
        f"`import llm` finds {spec.origin}, not Eyegraft's own {OURS}. "
        f"Take its folder out of PYTHONPATH or start from another folder. {OWN_ENVIRONMENT}"
    )
