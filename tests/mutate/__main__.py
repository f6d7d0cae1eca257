"""`make mutate`: plant faults into the core, one at a time, and see whether the tests that run their lines fail.

    python -m tests.mutate                  trace if there is none, try what was not tried, write the table
    python -m tests.mutate trace [TESTS]    which tests run which lines; of some test files anew
    python -m tests.mutate list MODULE...   every mutant of a module
    python -m tests.mutate try NAME...      these, again, and what their tests said

What was tried is kept in .mutate/tried.jsonl and taken up again after an interruption. A mutant that was killed is
not tried again while its module is as it was; one that survived is, once tests were traced anew. The result is
benchmarks/results/mutation.json and the table in docs/benchmarks/mutation.md; the status is 1 if a survivor has no
reason in tests/mutate/equal.yaml.
"""

import argparse
import sys
from pathlib import Path

from tests.mutate import scope, table
from tests.mutate.campaign import Campaign, described
from tests.mutate.operators import mutants_of


def main() -> None:
    """Do what the command line says."""
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
    if not options.names:
        sys.exit(table.written(results, "python -m " + " ".join(["tests.mutate", *sys.argv[1:]])) > 0)


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
