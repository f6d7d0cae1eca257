"""Signatures by Standard Webhooks (github.com/standard-webhooks), which OpenAI's clients verify."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 36  # the standard asks for 24 to 64; a multiple of 3 needs no padding


def new_secret() -> str:
    """A random secret: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(identity: str, timestamp: int, body: str, keys: Sequence[str]) -> dict[str, str]:
    """The headers of one try: the delivery's id, the time of the try, and one signature for each secret."""
    content = f"{identity}.{timestamp}.{body}".encode()
    signatures = " ".join(f"v1,{_signature(key, content)}" for key in keys)
    return {"webhook-id": identity, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}


def _signature(key: str, content: bytes) -> str:
    secret = base64.b64decode(key.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
