"""The thread that delivers: it looks for what is due, sends it, and stores what came of it.

The supervisor only writes deliveries into the store, and never waits for an endpoint. A delivery that was sent when
the service was killed is sent again, with the same id and body: receivers see every event once or more.
"""

import random
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from llm.errors import ServiceError
from llm.log import logger
from vlm.service.store.database import Database
from vlm.service.store.delivery_table import (
    endpoints_due,
    event_body,
    give_up,
    next_delivery,
    postpone,
    settle_delivered,
    switch_off,
)
from vlm.service.store.rows import Delivery, WebhookEndpoint
from vlm.service.store.webhook_table import MOST_ENDPOINTS, UnknownEndpointError, signing_secrets
from vlm.service.webhooks.addresses import UrlError
from vlm.service.webhooks.post import Answer, NoAnswerError, post
from vlm.service.webhooks.signing import signed_headers

# Between the tries, as Standard Webhooks proposes: ten tries in three days.
WAITS_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.1  # a part by which a wait is longer, so that endpoints do not meet all their tries at once
ROUND_S = 5.0  # after which no further delivery to an endpoint begins in a round: the others wait for its end
PAUSE_S = 1.0
GONE = 410
SAMPLE_JOB = "ftjob-" + "0" * 24


class Deliverer:
    """Delivers what the store holds; it may be killed at any instant and go on in another process."""

    def __init__(self, database: Database, public: bool, clock: Callable[[], float] = time.time) -> None:
        """`public`: strangers may name endpoints, and those of private networks are refused."""
        self.public = public
        self._database, self._clock = database, clock

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set. A disk that refuses is logged once, and tried again."""
        last = ""
        while not stop.wait(PAUSE_S):
            try:
                self.tick()
            except ServiceError as error:
                if str(error) != last:
                    logger.warning(f"webhooks: {error}")
                last = str(error)

    def tick(self) -> None:
        """Try what is due, every endpoint in a thread of its own: one that hangs does not hold up the others."""
        due = endpoints_due(self._database, self._clock())
        if due:
            with ThreadPoolExecutor(MOST_ENDPOINTS, "webhook") as pool:
                list(pool.map(self._deliver_to, due))

    def test(self, endpoint: WebhookEndpoint, event_type: str) -> Answer:
        """Send a sample event of no real job once, and return the answer. Raises UrlError and NoAnswerError."""
        body = event_body(event_type, SAMPLE_JOB, int(self._clock()))
        return self._post(f"wh_{secrets.token_hex(16)}", endpoint.id, endpoint.url, body)

    def _deliver_to(self, endpoint: str) -> None:
        """Try what is due to one endpoint, until one fails: the next would wait for the same time-out."""
        until = time.monotonic() + ROUND_S
        while time.monotonic() < until:
            delivery = next_delivery(self._database, endpoint, self._clock())
            if delivery is None or not self._arrives(delivery):
                return

    def _arrives(self, delivery: Delivery) -> bool:
        try:
            answer = self._post(delivery.id, delivery.endpoint, delivery.url, delivery.body)
        except (UrlError, NoAnswerError) as error:
            self._failed(delivery, str(error), Answer(0))
            return False
        except UnknownEndpointError:  # it was deleted meanwhile, and the delivery with it
            return False
        if 200 <= answer.status < 300:
            settle_delivered(self._database, delivery)
            return True
        found = f"the endpoint answered {answer.status}"
        if 300 <= answer.status < 400:
            found = f"the endpoint answered {answer.status}, a redirect, which is not followed"
        self._failed(delivery, found, answer)
        return False

    def _failed(self, delivery: Delivery, error: str, answer: Answer) -> None:
        if answer.status == GONE:
            switch_off(self._database, delivery, error, self._clock())
            return
        if delivery.tries == len(WAITS_S):
            give_up(self._database, delivery, error)
            return
        wait = WAITS_S[delivery.tries] * random.uniform(1, 1 + JITTER)
        asked = min(answer.retry_after, WAITS_S[-1])
        postpone(self._database, delivery, error, self._clock(), max(wait, asked))

    def _post(self, identity: str, endpoint: str, url: str, body: str) -> Answer:
        now = self._clock()
        keys = signing_secrets(self._database, endpoint, now)
        return post(url, signed_headers(identity, int(now), body, keys), body, self.public)
