"""Where webhooks may go: URLs as users write them, and the addresses that their names lead to."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from llm.errors import ServiceError

LONGEST_URL = 2048
PORTS = {"http": 80, "https": 443}
# Services that hand out a machine's credentials, beside those at link-local addresses.
METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
    )
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # its last 32 bits are an IPv4 address
PRINTABLE = re.compile(r"[!-~]*")
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UrlError(ServiceError):
    """A URL to which no webhook is sent."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a webhook's URL; `path` has its query."""

    encrypted: bool
    host: str
    port: int
    path: str


def read_url(url: str, public: bool) -> Target:
    """The parts of a URL. Raises UrlError for one that is not sent to; what its name leads to is seen by connecting.

    `public`: see `refusal`.
    """
    if len(url) > LONGEST_URL:
        raise UrlError(f"url: {len(url)} characters, at most {LONGEST_URL} are taken. Give a shorter one")
    if not PRINTABLE.fullmatch(url):
        raise UrlError("url: has a space, a control character or one beyond ASCII. Write it percent-encoded")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UrlError(f"url: {error}. Write http://HOST:PORT/PATH or https://HOST/PATH") from error
    if parts.scheme not in PORTS or not host or port == 0:
        raise UrlError("url: is not the address of a web server. Write http://HOST:PORT/PATH or https://HOST/PATH")
    if parts.username is not None or parts.fragment:
        raise UrlError("url: has a user name, a password or a fragment (#), which are never sent. Leave them out")
    _check_host(host, public)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, port or PORTS[parts.scheme], path)


def refusal(address: str, public: bool) -> str:
    """Why nothing is sent to an IP address; empty when it may be.

    Link-local, multicast and unspecified addresses and those of metadata services are refused always: what answers
    there is not a user's. With `public`, when strangers may hold the service's secret, all that are not of the
    internet are: this machine and its private networks trust what comes from here.
    """
    for found in _forms(ipaddress.ip_address(address.partition("%")[0])):  # without its scope
        if found.is_link_local or found in METADATA:
            return f"{address} is link-local or a metadata service, which hands out a machine's credentials"
        if found.is_multicast or found.is_unspecified:
            return f"{address} is the address of no single machine"
        if public and not found.is_global:
            return f"{address} is of this machine or a private network, and the service is public"
    return ""


def _check_host(host: str, public: bool) -> None:
    try:
        reason = refusal(host, public)
    except ValueError as error:  # a name
        if not HOST.fullmatch(host) or max(map(len, host.split("."))) > 63:
            raise UrlError(f"url: {host[:80]!r} is not the name of a host. Correct it") from error
        return
    if reason:
        raise UrlError(f"url: {reason}. Name another address")


def _forms(address: Address) -> list[Address]:
    """The address and the IPv4 addresses that a gateway would make of it."""
    found: list[Address | None] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64 or int(address) >> 32 == 0:  # the latter were IPv4 addresses in the 1990s
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        found += [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    return [one for one in found if one is not None]
