"""Resolving a host name to one checked IP address, so that no request reaches this machine or a private network.

A name is resolved once, all of its addresses are checked, and the caller connects to the returned address instead of
the name. Resolving again for the connection would allow DNS rebinding.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16")))
"""Special-purpose networks of IANA's registries that some versions of Python count as global."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressNotAllowed(PermissionError):
    """A host name has an address that must not be connected to."""


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet. IPv6 addresses that embed an IPv4 address are judged by that."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    if any(address in network for network in NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def resolve(host: str, port: int, allowed: Callable[[Address], bool] = is_public) -> str:
    """Resolves a host name and returns its first address.

    Args:
        host: A host name or an IP address.
        port: The port that the caller connects to.
        allowed: Whether an address may be connected to.

    Raises:
        AddressNotAllowed: At least one of the addresses is not allowed, or the host has no address.
        OSError: The name cannot be resolved.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    if not addresses or not all(map(allowed, addresses)):
        raise AddressNotAllowed(f"{host} does not have only allowed addresses")
    return str(addresses[0])
