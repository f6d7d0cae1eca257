"""The environments of evaluation programs, each made once from its file of requirements and stored in the user's cache.

    python -m tests.evaluators.environments core
    python -m tests.evaluators.environments --optional core

`make test` makes `core` so before the tests, `make evaluators` all of them. A fresh clone finds what another has made.
Imports nothing that is not in Python.
"""

import argparse
import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
NAMES = ("core", "evalscope", "lmms")
WITH_TORCH = ("lmms",)  # that use the torch of this interpreter's environment
SECONDS = 1800  # for an installation
PIP = (
    "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--no-deps", "--retries", "2",
    "--timeout", "20",
)  # fmt: skip


class NoEnvironment(RuntimeError):
    """An environment could not be made; the message says why and what to do."""


def cache() -> Path:
    """The folder of all environments, which may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eyegraft" / "evaluators"


def folder_of(name: str, requirements: Path = REQUIREMENTS) -> Path:
    """The folder of an environment: another for each content of its file of requirements and each interpreter."""
    made_of = [(requirements / f"{name}.txt").read_bytes(), sys.version.encode(), sys.base_prefix.encode()]
    if name in WITH_TORCH:
        made_of.append(_packages().encode())
    return cache() / f"{name}-{hashlib.sha256(bytes(1).join(made_of)).hexdigest()[:12]}"


def is_ready(folder: Path) -> bool:
    """Whether the environment is complete and its interpreter still exists."""
    return (folder / "ready").exists() and (folder / "bin" / "python").exists()


def why_missing(name: str, requirements: Path = REQUIREMENTS) -> str:
    """Why there is no such environment, for the reason of a skipped test; empty where it is ready."""
    folder = folder_of(name, requirements)
    if is_ready(folder):
        return ""
    failed = _reason_file(folder)
    command = f"python -m tests.evaluators.environments {name}"
    return failed.read_text(encoding="utf-8") if failed.exists() else f"no {folder}: `{command}` makes it"


def make(name: str, requirements: Path = REQUIREMENTS) -> Path:
    """Make an environment unless it is ready. Raises NoEnvironment, whose message `why_missing` repeats."""
    folder = folder_of(name, requirements)
    with _alone(folder):
        if not is_ready(folder):
            try:
                _install(folder, requirements / f"{name}.txt", name in WITH_TORCH)
            except NoEnvironment as error:
                _reason_file(folder).write_text(str(error), encoding="utf-8")
                raise
            _reason_file(folder).unlink(missing_ok=True)
            (folder / "ready").touch()
    return folder


def _install(folder: Path, requirements: Path, with_torch: bool) -> None:
    """A new environment. The file names every package, so that nothing is resolved and each time the same installed."""
    venv.EnvBuilder(with_pip=False, symlinks=True, clear=True).create(folder)
    python = str(folder / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, *PIP, "-r", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NoEnvironment(
            f"{requirements.name}: pip was not ready after {SECONDS} s. Is the package registry reachable? Try again"
        ) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise NoEnvironment(
            f"{requirements.name}: pip could not install it, its last line is: {lines[-1].strip()}. "
            "Where the package registry cannot be reached, try again when it can"
        )
    if with_torch:
        asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        inside = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        (Path(inside) / "eyegraft.pth").write_text(_packages() + "\n", encoding="utf-8")


def _packages() -> str:
    return sysconfig.get_path("purelib")


def _reason_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.failed")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes an environment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the named environments; 1 where one could not be made, unless they are optional."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=NAMES)
    parser.add_argument("--optional", action="store_true", help="a failure is reported, and the exit status is 0")
    options = parser.parse_args(arguments)
    missing = False
    for name in options.names:
        if not is_ready(folder_of(name)):
            print(f"Evaluation programs: installing {name}, about a minute, once", flush=True)
        began = time.monotonic()
        try:
            print(f"Evaluation programs: {make(name)}, {time.monotonic() - began:.0f} s", flush=True)
        except NoEnvironment as error:
            missing = True
            skipped = " Their tests are skipped." if options.optional else ""
            print(f"Evaluation programs: {error}.{skipped}", file=sys.stderr, flush=True)
    return int(missing and not options.optional)


if __name__ == "__main__":
    sys.exit(main())
