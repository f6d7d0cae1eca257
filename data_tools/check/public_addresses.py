"""Which IP addresses are public. The lists are our own since `ipaddress.is_global` differs between Python versions.

Source: IANA's registries of special-purpose addresses (RFC 6890 and its successors). Blocks that these call globally
reachable but that serve no images (relays, AS112, protocol assignments) are excluded as well.
"""

import ipaddress

_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a carrier's customers
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # multicast tunnels
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# Outside 2000::/3, and so excluded: unspecified, loopback, addresses that embed an IPv4 one (::/96, 64:ff9b::/96),
# discard-only 100::/64, segment routing 5f00::/16, unique local fc00::/7, link-local fe80::/10, site-local fec0::/10,
# multicast ff00::/8.
_UNICAST = ipaddress.IPv6Network("2000::/3")
_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks, multicast tunnels, AS112
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: str) -> bool:
    """Whether `address` is a public unicast address without a zone (fe80::1%eth0). ValueError if it is no address."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        if found.ipv4_mapped is None:
            return found in _UNICAST and found.is_global and not any(found in network for network in _V6)
        found = found.ipv4_mapped  # the socket connects to the IPv4 address
    return found.is_global and not any(found in network for network in _V4)
