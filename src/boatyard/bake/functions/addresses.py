"""Functions of IP networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from boatyard.bake.functions.arithmetic import whole
from boatyard.bake.functions.signature import CallError, Function, Parameter, function
from boatyard.bake.values.type import NUMBER, STRING
from boatyard.bake.values.value import Value, string, strings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(prefix: Value) -> Network:
    try:
        if "/" not in prefix.raw:
            raise ValueError
        return ipaddress.ip_network(prefix.raw, strict=False)
    except ValueError:
        raise CallError(f"{prefix.raw[:60]!r} is no network: write it as 10.0.0.0/8 or fd00::/16", 0) from None


def _at(network: Network, address: int, length: int) -> Network:
    return type(network)((address, length))


def _host(prefix: Value, number: Value) -> Value:
    """A negative number counts from the end."""
    network, host = _network(prefix), whole(number, 1)
    if not -network.num_addresses <= host < network.num_addresses:
        raise CallError(f"{network} has no host {host}", 1)
    return string(str(network[host]))


def _netmask(prefix: Value) -> Value:
    network = _network(prefix)
    if network.version != 4:
        raise CallError("IPv6 networks have no netmask", 0)
    return string(str(network.netmask))


def _subnet(prefix: Value, newbits: Value, number: Value) -> Value:
    network, bits, place = _network(prefix), whole(newbits, 1), whole(number, 2)
    length = network.prefixlen + bits
    if bits < 0 or length > network.max_prefixlen:
        raise CallError(f"a prefix of {network.prefixlen} bits can't be extended by {bits}", 1)
    if not 0 <= place < 1 << bits:
        raise CallError(f"{bits} more bits give no network {place}", 2)
    address = int(network.network_address) + (place << (network.max_prefixlen - length))
    return string(str(_at(network, address, length)))


def _subnets(prefix: Value, *newbits: Value) -> Value:
    network = _network(prefix)
    address, end = int(network.network_address), int(network.broadcast_address) + 1
    found = []
    for index, each in enumerate(newbits, start=1):
        bits = whole(each, index)
        length = network.prefixlen + bits
        if bits < 1 or length > network.max_prefixlen:
            raise CallError(f"a prefix of {network.prefixlen} bits can't be extended by {bits}", index)
        size = 1 << (network.max_prefixlen - length)
        address = -(-address // size) * size
        if address + size > end:
            raise CallError(f"there is no room in {network} for a network of {length} bits more", index)
        found.append(str(_at(network, address, length)))
        address += size
    return strings(found)


_PREFIX = Parameter("prefix", STRING)

FUNCTIONS: Mapping[str, Function] = {
    "cidrhost": function(_host, _PREFIX, Parameter("hostnum", NUMBER)),
    "cidrnetmask": function(_netmask, _PREFIX),
    "cidrsubnet": function(_subnet, _PREFIX, Parameter("newbits", NUMBER), Parameter("netnum", NUMBER)),
    "cidrsubnets": function(_subnets, _PREFIX, variadic=Parameter("newbits", NUMBER)),
}
