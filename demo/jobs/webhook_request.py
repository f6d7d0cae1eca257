"""The bodies of /v1/webhook_endpoints."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from demo.jobs.job_request import RequestPart
from vlm.service.store.delivery_table import EVENT_TYPES

SENT = tuple(EVENT_TYPES.values())
LONGEST_TYPE = 80  # characters of a wrong one in a message


def _sent(event_type: str) -> str:
    if event_type not in SENT:
        found = (
            f"{event_type[:LONGEST_TYPE]!r} is never sent by this service, which only trains; sent: {', '.join(SENT)}"
        )
        raise PydanticCustomError("refused", "{found}", {"found": found})
    return event_type


def _once(event_types: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event_types))


Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Url = Annotated[str, StringConstraints(min_length=1)]  # what it must be is checked with the service's own settings
EventType = Annotated[str, AfterValidator(_sent)]
EventTypes = Annotated[tuple[EventType, ...], Field(min_length=1, max_length=100), AfterValidator(_once)]


class NewEndpoint(RequestPart):
    """A new endpoint."""

    name: Text
    url: Url
    event_types: EventTypes


class ChangedEndpoint(RequestPart):
    """What changes of an endpoint; the rest stays."""

    name: Text = "unchanged"
    url: Url = "unchanged"
    event_types: EventTypes = SENT


class Rotation(RequestPart):
    """Whether the secret before still signs for a day."""

    keep_old_secret_active_for_24_hours: StrictBool = False


class Resend(RequestPart):
    """What is sent again: all that was given up, or that of one job."""

    job: Annotated[str, StringConstraints(pattern=r"^ftjob-[0-9a-f]{24}$")] | None = None


class SampleRequest(RequestPart):
    """A sample to be sent."""

    event_type: EventType
