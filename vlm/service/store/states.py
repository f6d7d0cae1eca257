"""The states of a training job, and which follows which.

    validating ─► queued ─► starting ─► running ─► succeeded
                  ▲    ▲       │           │ └────► failed
                  │    │       ▼           ▼
                  │    └─── interrupted (the attempt ended without a verdict)
               paused ◄──── pausing ◄── starting, running
            cancelled ◄── cancelling ◄── starting, running, pausing

A job that has no process (validating, queued, interrupted, paused) is cancelled and paused at once; one that was paused
before it was validated goes back to that.
"""

from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """Where a job is. `FINAL` states are never left."""

    VALIDATING = "validating"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
ACTIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSING, State.CANCELLING})
"""States in which a job has an attempt that may be alive."""

NEXT: dict[State, frozenset[State]] = {
    State.VALIDATING: frozenset({State.QUEUED, State.FAILED, State.CANCELLED, State.PAUSED}),
    State.QUEUED: frozenset({State.STARTING, State.PAUSED, State.CANCELLED, State.FAILED}),
    State.STARTING: frozenset(
        {
            State.RUNNING,
            State.PAUSING,
            State.CANCELLING,
            State.INTERRUPTED,
            State.SUCCEEDED,
            State.FAILED,
        }
    ),
    State.RUNNING: frozenset({State.SUCCEEDED, State.FAILED, State.PAUSING, State.CANCELLING, State.INTERRUPTED}),
    # A run may end by itself before the signal reaches it.
    State.PAUSING: frozenset({State.PAUSED, State.CANCELLING, State.SUCCEEDED, State.FAILED}),
    State.CANCELLING: frozenset({State.CANCELLED, State.SUCCEEDED, State.FAILED}),
    State.PAUSED: frozenset({State.VALIDATING, State.QUEUED, State.CANCELLED}),
    State.INTERRUPTED: frozenset({State.QUEUED, State.FAILED, State.PAUSED, State.CANCELLED}),
    **{state: frozenset() for state in FINAL},
}

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled", "paused"]
_OPENAI: dict[State, Status] = {
    State.VALIDATING: "validating_files",
    State.QUEUED: "queued",
    State.STARTING: "running",
    State.RUNNING: "running",
    State.PAUSING: "running",
    State.PAUSED: "paused",
    State.CANCELLING: "running",
    State.INTERRUPTED: "queued",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


def openai_status(state: State) -> Status:
    """The status by which OpenAI's clients know a state; `paused` is one that they accept besides their own."""
    return _OPENAI[state]
