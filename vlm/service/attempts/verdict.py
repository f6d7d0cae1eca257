"""What becomes of a job, from its state, its engine's word and its folder: one rule for every engine.

An engine only says whether an attempt is alive. Whether the job succeeded is in `exit.json`; how far it is, in the
checkpoints of the run folder.
"""

import signal
from dataclasses import dataclass
from typing import Literal

from llm.errors import DiskError, PeerLostError
from vlm.service.attempts.exit_record import AGAIN, ExitRecord
from vlm.service.store.rows import JobError, Level
from vlm.service.store.states import State

Life = Literal["pending", "running", "gone"]
MOST_STALLED = 5
"""Attempts in a row that may end without a verdict and without a new checkpoint; then the job fails."""
_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)
# Another process ended; it could not begin, or ended without a word; a signal.
_AGAIN = (PeerLostError.exit_code, AGAIN, *(128 + number for number in (signal.SIGKILL, signal.SIGHUP, signal.SIGABRT)))


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of a job with an attempt.

    Attributes:
        state: The job's state in the store.
        life: The engine's word about the attempt.
        ended: Its exit.json.
        start_step: Steps of the newest checkpoint when the attempt began; `step`: now.
        stalled: The job's count so far.
        reason: The last words of the attempt's log.
        fault: What is wrong besides: its exit.json is damaged, or a slot of it has disappeared.
        lost: The run folder of the job if it is gone with its checkpoints.
        killed: The attempt did not stop when its job was paused or cancelled, and its processes were killed.
    """

    state: State
    life: Life
    ended: ExitRecord | None
    start_step: int
    step: int
    stalled: int
    reason: str = ""
    fault: str = ""
    lost: str = ""
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that follows, the event it leaves, and the job's new count of stalled attempts.

    `waits`: an interrupted job is paused, for someone has to do something first; else it goes on by itself.
    """

    target: State
    message: str
    level: Level = "info"
    error: JobError | None = None
    stalled: int = 0
    waits: bool = False


def judge(seen: Observed) -> Verdict | None:
    """The state that follows from what was seen, or None when nothing changes."""
    if seen.ended is not None:
        return _ended(seen, seen.ended.code)
    if seen.life == "gone":
        return _gone(seen, seen.fault or "the attempt ended without a word, as when a machine goes down")
    if seen.life == "running" and seen.state is State.STARTING:
        return Verdict(State.RUNNING, "Fine-tuning job started", stalled=seen.stalled)
    return None


def _ended(seen: Observed, code: int) -> Verdict:
    if code == 0:
        return Verdict(State.SUCCEEDED, "The job has successfully completed")
    if code in _STOPPED:
        return _gone(seen, "the attempt was stopped from outside, and saved")
    if code in _AGAIN:
        return _gone(seen, _how(code))
    if seen.state is State.CANCELLING or seen.killed or seen.fault:
        return _gone(seen, seen.fault)
    if seen.lost:
        return lost_run(seen.lost)
    if code == DiskError.exit_code:
        return _disk_refused(seen)
    message = seen.reason or f"training ended with exit code {code}; see the job's log"
    return Verdict(State.FAILED, message, "error", JobError("training_failed", message))


def _disk_refused(seen: Observed) -> Verdict:
    reason = seen.reason or "the disk refused what the run writes."
    message = f"{reason} The job is paused after step {seen.step}: free space, then resume it"
    if seen.state is State.PAUSING:
        return Verdict(State.PAUSED, message, "error")
    return Verdict(State.INTERRUPTED, message, "error", stalled=seen.stalled, waits=True)


def _gone(seen: Observed, how: str) -> Verdict:
    """The attempt is over and the job is not: it goes where its user wanted it, or is tried again."""
    if seen.state is State.CANCELLING:
        return _cancelled(seen)
    if seen.lost:
        return lost_run(seen.lost)
    if seen.state is State.PAUSING:
        return _paused(seen)
    stalled = 0 if seen.step > seen.start_step else seen.stalled + 1
    if stalled < MOST_STALLED:
        why = f" ({seen.reason})" if seen.reason else ""
        message = f"{how}{why}; it goes on from step {seen.step}"
        return Verdict(State.INTERRUPTED, message, "warn", stalled=stalled)
    message = f"{MOST_STALLED} attempts in a row ended without a new checkpoint; the last time, {how}. {seen.reason}"
    return Verdict(State.FAILED, message.strip(), "error", JobError("interrupted", message.strip()), stalled)


def _cancelled(seen: Observed) -> Verdict:
    if not seen.killed:
        return Verdict(State.CANCELLED, "Fine-tuning job cancelled")
    message = f"Fine-tuning job cancelled. Training did not stop by itself and was killed; {_saved(seen)}"
    return Verdict(State.CANCELLED, message, "warn")


def _paused(seen: Observed) -> Verdict:
    if not seen.killed:
        return Verdict(State.PAUSED, f"Fine-tuning job paused after step {seen.step}")
    message = f"Fine-tuning job paused. Training did not stop by itself and was killed; {_saved(seen)}"
    return Verdict(State.PAUSED, message, "warn")


def _saved(seen: Observed) -> str:
    return f"its last checkpoint is of step {seen.step}" if seen.step else "it had saved no checkpoint"


def lost_run(run: str) -> Verdict:
    """The end of a job whose checkpoints were deleted: a run does not begin again from its first step by itself."""
    message = f"{run}: the run folder is gone, with its checkpoints. Submit the job again"
    return Verdict(State.FAILED, message, "error", JobError("run_folder_lost", message))


def _how(code: int) -> str:
    """How an attempt ended that is tried again, with the name of the signal that killed it."""
    name = signal.Signals(code - 128).name if code > 128 else ""
    if name == "SIGKILL":
        return f"the attempt was killed by {name}: out of memory?"
    return f"the attempt was killed by {name}" if name else f"the attempt ended with exit code {code}"
