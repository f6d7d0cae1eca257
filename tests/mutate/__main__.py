"""`make mutate`: change one thing in a core module at a time, and see whether a test of the changed lines fails.

    python -m tests.mutate                  trace if that was not done, try new mutants, write the table
    python -m tests.mutate run MODULE...    the same for some modules, without the table
    python -m tests.mutate trace [TESTS]    record which tests run which lines; for some test files again
    python -m tests.mutate list MODULE...   every mutant of a module
    python -m tests.mutate try NAME...      these mutants again

Results are appended to .mutate/tried.jsonl, so that an interrupted run continues. A killed mutant is tried again only
when its module has changed, a survivor when tests were traced again. A complete run writes
benchmarks/results/mutation.json and the table in docs/benchmarks/mutation.md. It exits with 1 if a survivor has no
reason in tests/mutate/equal.yaml, or if that file has names of mutants that do not exist any more. Other runs report
such names only.
"""

import argparse
import sys
from pathlib import Path

from tests.mutate import scope, table
from tests.mutate.campaign import Campaign, described
from tests.mutate.operators import mutants_of


def main() -> None:
    """The command line."""
    options = _options()
    campaign = Campaign(Path.cwd(), options.jobs, options.limit)
    if options.action == "trace":
        campaign.trace(options.names)
        return
    if options.action == "list":
        for path in options.names:
            for mutant in mutants_of(path, Path(path).read_bytes()):
                print(f"{mutant.name} {path}:{mutant.line} {mutant.kind}: {mutant.before!r} -> {mutant.after!r}")
        return
    if options.action == "try":
        campaign.retry(options.names)
        return
    if not campaign.map_path.exists():
        campaign.trace([])
    chosen = dict.fromkeys(scope.modules(scope.CORE), options.core_each)
    chosen |= dict.fromkeys(scope.modules(scope.OTHERS), options.each)
    if options.names:
        chosen = {path: count for path, count in chosen.items() if path in options.names}
    campaign.explained = frozenset(table.reasons())
    results = campaign.run(chosen, options.seed)
    for row in results:
        if row["status"] == "survived":
            print(described(row))
    unknown = table.unknown_reasons()
    for name in unknown:
        print(
            f"{table.REASONS}: {name}: no mutant has this name. Was its code changed? Give the new name, or remove it"
        )
    if not options.names:
        unexplained = table.write(results, "python -m " + " ".join(["tests.mutate", *sys.argv[1:]]))
        sys.exit(unexplained > 0 or len(unknown) > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", default="run", choices=("run", "trace", "list", "try"))
    parser.add_argument("names", nargs="*", help="modules, test files or mutants")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--limit", type=float, default=60, help="seconds of tests a mutant may take, as traced")
    parser.add_argument("--seed", type=int, default=scope.SEED, help="which mutants are drawn")
    parser.add_argument("--each", type=int, default=scope.EACH, help="mutants of a module")
    parser.add_argument("--core-each", type=int, default=scope.CORE_EACH, help="mutants of a module of the core")
    return parser.parse_args()


if __name__ == "__main__":
    main()
