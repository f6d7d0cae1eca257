"""What Prometheus reads of the service: its jobs, attempts and slots, as the database has them."""

from collections.abc import Collection

from demo.server.prometheus import Reader, Reading
from demo.server.serving_metrics import ServingMetrics
from vlm.service.store.attempt_table import count_attempts, leased_slots
from vlm.service.store.database import Database
from vlm.service.store.job_table import count_by_state


def add_job_metrics(metrics: ServingMetrics, database: Database, slots: Collection[str]) -> None:
    """Show jobs by state, attempts by engine, and how many of this machine's `slots` are taken."""

    def jobs() -> Reading:
        return {(state.value,): float(count) for state, count in count_by_state(database).items()}

    def attempts() -> Reading:
        found = count_attempts(database)
        return {(engine, "running" if alive else "ended"): float(count) for (engine, alive), count in found.items()}

    def busy() -> Reading:
        return len(leased_slots(database).keys() & set(slots))

    metrics.add(
        Reader("gauge", "eyegraft_jobs", "Jobs by state.", jobs, ("state",)),
        Reader("gauge", "eyegraft_attempts", "Attempts at jobs that there are.", attempts, ("engine", "state")),
        Reader("gauge", "eyegraft_slots", "Slots of this machine.", lambda: len(slots)),
        Reader("gauge", "eyegraft_slots_busy", "Slots of this machine that a job has.", busy),
    )
