"""/v1/webhook_endpoints: who is informed of what becomes of jobs."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from demo.api.errors import ApiError
from demo.api.openapi_document import errors
from demo.jobs.known_query import known_query
from demo.jobs.objects import list_object, webhook_object
from demo.jobs.shapes import Deleted, EventTypes, Page, ResendObject, SampleObject, WebhookObject
from demo.jobs.webhook_request import SENT, ChangedEndpoint, NewEndpoint, Resend, Rotation, SampleRequest
from demo.server.guard import ErrorResponse
from vlm.service.service import Service
from vlm.service.store.database import Database
from vlm.service.store.delivery_table import count_deliveries, send_again
from vlm.service.store.rows import WebhookEndpoint
from vlm.service.store.webhook_table import (
    EndpointChanges,
    add_endpoint,
    find_endpoint,
    list_endpoints,
    remove_endpoint,
    rotate_secret,
    update_endpoint,
)
from vlm.service.webhooks.addresses import UrlError, read_url
from vlm.service.webhooks.signing import new_secret

PREFIX = "/v1/webhook_endpoints"
ENDPOINT = r"^we_[0-9a-f]{24}$"
EndpointName = Annotated[str, Path(json_schema_extra={"pattern": ENDPOINT})]
After = Annotated[str | None, Query(json_schema_extra={"pattern": ENDPOINT})]
AT_ONCE, EVERYTHING = Rotation(), Resend()  # requests without a body


def webhook_routes(service: Service) -> APIRouter:
    """Create, list, look at, change and delete endpoints. All routes run in threads, since they wait for the disk."""
    routes = APIRouter(tags=["webhooks"], dependencies=[Depends(known_query)])
    database = service.database

    @routes.post(PREFIX, responses=errors(503))
    def create(body: NewEndpoint) -> WebhookObject:
        """Add an endpoint; its secret is shown here, and never again."""
        _check(service, body.url)
        secret = new_secret()
        endpoint = add_endpoint(database, body.name, body.url, body.event_types, secret)
        return {**_object(database, endpoint), "signing_secret": secret}

    @routes.get(PREFIX, responses=errors(404, 503))
    def endpoints(after: After = None, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Page[WebhookObject]:
        """The endpoints, newest first."""
        if after is not None:
            find_endpoint(database, after)
        found, more = list_endpoints(database, limit, after)
        return list_object([_object(database, endpoint) for endpoint in found], more)

    @routes.get("/v1/webhook_event_types")
    def event_types() -> EventTypes:
        """The events that the service sends."""
        return {"object": "list", "data": list(SENT)}

    @routes.get(f"{PREFIX}/{{name}}", responses=errors(404, 503))
    def endpoint(name: EndpointName) -> WebhookObject:
        """One endpoint."""
        return _object(database, find_endpoint(database, name))

    @routes.post(f"{PREFIX}/{{name}}", responses=errors(404, 503))
    def update(name: EndpointName, body: ChangedEndpoint) -> WebhookObject:
        """Change what the body has; what waits to be delivered goes to the new address.

        An endpoint that was switched off is on again when its url is given.
        """
        changes: EndpointChanges = {}
        if "name" in body.model_fields_set:
            changes["name"] = body.name
        if "url" in body.model_fields_set:
            _check(service, body.url)
            changes["url"] = body.url
        if "event_types" in body.model_fields_set:
            changes["event_types"] = body.event_types
        return _object(database, update_endpoint(database, name, **changes))

    @routes.delete(f"{PREFIX}/{{name}}", responses=errors(404, 503))
    def delete(name: EndpointName) -> Deleted:
        """Delete an endpoint; what waits to be delivered to it is not sent."""
        remove_endpoint(database, name)
        return {"id": name, "object": "webhook_endpoint.deleted", "deleted": True}

    return routes


def webhook_action_routes(service: Service) -> APIRouter:
    """A new secret, a sample, and what was given up sent again."""
    routes = APIRouter(prefix=f"{PREFIX}/{{name}}", tags=["webhooks"], dependencies=[Depends(known_query)])
    database = service.database

    @routes.post("/rotate_secret", responses=errors(404, 503))
    def rotate(name: EndpointName, body: Rotation = AT_ONCE) -> WebhookObject:
        """Let a new secret sign, which is shown here and never again."""
        secret = new_secret()
        endpoint = rotate_secret(database, name, secret, body.keep_old_secret_active_for_24_hours)
        return {**_object(database, endpoint), "signing_secret": secret}

    @routes.post("/test", responses=errors(404, 503))
    def test(name: EndpointName, body: SampleRequest) -> SampleObject:
        """Send a sample event, signed as real ones are, and wait for the answer's status."""
        answer = service.webhooks.test(find_endpoint(database, name), body.event_type)
        return {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": name,
            "event_type": body.event_type,
            "success": True,
            "status_code": answer.status,
        }

    @routes.post("/x_resend", responses=errors(404, 503))
    def resend(name: EndpointName, body: Resend = EVERYTHING) -> ResendObject:
        """Send again what was given up, with the ids and bodies that it had. An endpoint that was off is on again."""
        find_endpoint(database, name)
        count = send_again(database, name, body.job, time.time())
        return {"object": "webhook_endpoint.resend", "webhook_endpoint_id": name, "deliveries": count}

    return routes


def _object(database: Database, endpoint: WebhookEndpoint) -> WebhookObject:
    return webhook_object(endpoint, count_deliveries(database, endpoint.id))


def _check(service: Service, url: str) -> None:
    try:
        read_url(url, service.webhooks.public)
    except UrlError as error:
        raise ApiError(ErrorResponse(400, str(error), code="invalid_url", param="url")) from error
