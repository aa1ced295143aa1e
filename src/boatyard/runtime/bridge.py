"""A bridge of our own, with network namespaces behind it that are made ahead and used again.

Everything carries the instance's name (a bridge `boatXXXXXXXX`, an nft table `boatyard_XXXXXXXX`), so that what a
killed daemon left is known at the next start and nobody else's is touched. `ip` and `nft` do the work: a batch costs
2 ms and no memory, while a netlink library costs the daemon 15 MB.

A namespace goes to one container at a time. Containers can't change it (they lack CAP_NET_ADMIN), so it is clean for
the next one; those that can taint it. They reach the world, not one another: bridge ports are isolated.
"""

from __future__ import annotations

import fcntl
import functools
import ipaddress
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from boatyard.errors import StorageError, UnavailableError, UnsupportedError
from boatyard.runtime import hosts, kernel, owner
from boatyard.runtime.network import Sandbox

log = logging.getLogger(__name__)

CANDIDATES = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "10.213.0.0/16",
        "10.214.0.0/16",
        "10.215.0.0/16",
        "10.216.0.0/16",
        "10.217.0.0/16",
        "10.218.0.0/16",
        "10.219.0.0/16",
        "172.27.0.0/16",
        "172.29.0.0/16",
        "172.31.0.0/16",
        "192.168.176.0/20",
        "192.168.208.0/20",
    )
)
LINKS = Path("/sys/class/net")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
LABEL = "boatyard"
IDLE = 3
"""Namespaces kept ready."""
COMMAND_TIMEOUT = 20
SEARCH_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


class BridgePool:
    """The bridge and its namespaces. One per executor; blocking and thread-safe. `open` first, `close` at the end."""

    def __init__(self, instance: str, subnet: str = "") -> None:
        self.bridge = f"boat{instance}"
        self.table = f"boatyard_{instance}"
        self._wanted = subnet
        self._prefix = f"bv{instance}"
        self._network = CANDIDATES[0]
        self._mtu = 1500
        self._lock = threading.Lock()
        self._idle: list[Sandbox] = []
        self._free: list[int] = []
        self._next = 2
        self._making = False
        self._closed = True

    @property
    def gateway(self) -> str:
        return str(next(self._network.hosts()))

    def open(self) -> None:
        """Make the bridge and the rules. Raises UnsupportedError with the reason where this host can't have them."""
        obstacle = missing_tools() or forwarding_obstacle(_chains())
        if obstacle:
            raise UnsupportedError(obstacle)
        self.remove()
        for instance in abandoned():
            log.warning("removing the bridge of instance %s, which was killed", instance)
            BridgePool(instance).remove()
        try:
            with _host_network():
                self._network = self._choose()
                self._mtu = _uplink_mtu()
                _ip(
                    f"link add name {self.bridge} mtu {self._mtu} type bridge",
                    f'link set dev {self.bridge} alias "{LABEL} {owner.current()}"',
                    f"address add {self.gateway}/{self._network.prefixlen} dev {self.bridge}",
                    f"link set dev {self.bridge} up",
                )
            _run(["nft", "-f", "-"], self._rules())
            if FORWARDING.read_text().strip() != "1":
                FORWARDING.write_text("1")
        except (OSError, UnavailableError) as error:
            self.remove()
            raise UnsupportedError(f"a bridge can't be made: {error}") from error
        self._closed = False

    def _choose(self) -> ipaddress.IPv4Network:
        if self._wanted:
            try:
                return ipaddress.IPv4Network(self._wanted)
            except ValueError as error:
                raise UnsupportedError(f"the configured subnet {self._wanted!r} is not a network: {error}") from error
        taken = routed_networks(_run(["ip", "-4", "-json", "route", "show", "table", "all"]))
        for server in hosts.host_resolver().nameservers:
            try:
                taken.append(ipaddress.IPv4Network(server))
            except ValueError:
                continue
        chosen = free_network(CANDIDATES, taken)
        if chosen is None:
            raise UnsupportedError(
                "every private network tried for the bridge overlaps with a route of this host",
                hint="set one in the configuration",
            )
        return chosen

    def _rules(self) -> str:
        # Deleting needs it to exist: declare, delete, define is nft's way to replace a table in one transaction.
        return (
            f"table ip {self.table}\n"
            f"delete table ip {self.table}\n"
            f"table ip {self.table} {{\n"
            " chain postrouting {\n"
            "  type nat hook postrouting priority srcnat; policy accept;\n"
            f'  ip saddr {self._network} oifname != "{self.bridge}" masquerade\n'
            " }\n"
            "}\n"
        )

    def acquire(self) -> Sandbox:
        with self._lock:
            if self._closed:
                raise UnavailableError("the bridge is closed")
            sandbox = self._idle.pop() if self._idle else None
        self._refill()
        return sandbox or self._make()

    def release(self, sandbox: Sandbox, *, tainted: bool) -> None:
        with self._lock:
            if not tainted and not self._closed:
                self._idle.append(sandbox)
                return
            self._free.append(sandbox.number)
        # The kernel takes the namespace's end of the cable away, and ours with it.
        os.close(sandbox.descriptor)

    def warm(self) -> None:
        """Have some ready. Blocking."""
        while True:
            with self._lock:
                if self._closed or len(self._idle) >= IDLE:
                    return
            sandbox = self._make()
            self.release(sandbox, tainted=False)

    def _refill(self) -> None:
        with self._lock:
            if self._making or len(self._idle) >= IDLE:
                return
            self._making = True

        def work() -> None:
            try:
                self.warm()
            except (OSError, UnavailableError) as error:
                log.warning("network namespaces can't be made ahead: %s", error)
            finally:
                self._making = False

        threading.Thread(target=work, name="network-pool", daemon=True).start()

    def _make(self) -> Sandbox:
        with self._lock:
            number = self._free.pop() if self._free else self._next
            if number == self._next:
                self._next += 1
        if number >= self._network.num_addresses - 1:
            raise UnavailableError(f"the bridge's network {self._network} has no address left")
        outcome: list[Sandbox | OSError | UnavailableError] = []

        def work() -> None:
            try:
                outcome.append(self._in_new_namespace(number))
            except (OSError, UnavailableError) as error:
                outcome.append(error)

        # A thread that changed its namespace is not used for anything else.
        worker = threading.Thread(target=work, name="network-namespace")
        worker.start()
        worker.join()
        made = outcome[0]
        if isinstance(made, Sandbox):
            return made
        with self._lock:
            self._free.append(number)
        if isinstance(made, OSError):
            raise StorageError(f"a network namespace can't be made: {made}") from made
        raise made

    def _in_new_namespace(self, number: int) -> Sandbox:
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            inside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                address = self._network[number]
                port = f"{self._prefix}{number:x}"
                _ip(
                    "link set dev lo up",
                    f"link add name eth0 mtu {self._mtu} type veth "
                    f"peer name {port} mtu {self._mtu} netns {os.getpid()}",
                    f"address add {address}/{self._network.prefixlen} dev eth0",
                    "link set dev eth0 up",
                    f"route add default via {self.gateway}",
                )
                kernel.setns(outside, kernel.CLONE_NEWNET)
                _ip(
                    f"link set dev {port} master {self.bridge}",
                    f"link set dev {port} type bridge_slave isolated on",
                    f"link set dev {port} up",
                )
            except BaseException:
                os.close(inside)
                raise
            return Sandbox(inside, str(address), self.gateway, number)
        finally:
            os.close(outside)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for sandbox in idle:
            os.close(sandbox.descriptor)
        self.remove()

    def remove(self) -> None:
        """Take the bridge and the table away, also those of an earlier process of this instance."""
        # A namespace that lost its last user is torn down some time later: its port is not waited for.
        ports = [path.name for path in LINKS.glob(f"{self._prefix}*")]
        for name in (*ports, self.bridge):
            if (LINKS / name).exists():
                _quiet(functools.partial(_ip, f"link delete dev {name}"))
        if shutil.which("nft", path=SEARCH_PATH):
            _quiet(lambda: _run(["nft", "-f", "-"], f"table ip {self.table}\ndelete table ip {self.table}\n"))


def abandoned(links: Path = LINKS) -> list[str]:
    """Instances whose bridge stands though the process that labelled it is gone."""
    found = []
    for path in links.glob("boat????????"):
        try:
            word, _, label = (path / "ifalias").read_text().strip().partition(" ")
        except OSError:
            continue
        maker = owner.parse(label)
        if word == LABEL and maker is not None and maker.is_gone():
            found.append(path.name.removeprefix("boat"))
    return found


def missing_tools() -> str:
    """What keeps this host from having a bridge, as far as programs and privileges go; "" is nothing."""
    if os.geteuid() != 0:
        return "only root can make a bridge"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool, path=SEARCH_PATH) is None:
            return f"`{tool}` is not installed (apt-get install {package})"
    return ""


def forwarding_obstacle(chains: bytes) -> str:
    """The reason why forwarded packets would not pass, from `nft -json list chains`; "" when nothing is in the way.

    A drop by policy of another program's chain is final, whatever our own table accepts.
    """
    for chain in _objects(chains, "chain"):
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain.get("family") in ("ip", "inet"):
            name = f"{chain.get('family')} {chain.get('table')} {chain.get('name')}"
            return f"this host drops forwarded packets (policy of the chain {name})"
    return ""


@contextmanager
def _host_network() -> Iterator[None]:
    """No other daemon chooses a subnet meanwhile: two that look at the same time would take the same one. The lock is
    on the network namespace itself, so that it is the same for all whose routes are the same."""
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def routed_networks(routes: bytes) -> list[ipaddress.IPv4Network]:
    """Destinations in the output of `ip -json route`; the default route is none."""
    networks = []
    for route in msgspec.json.decode(routes or b"[]", type=list[dict[str, object]]):
        try:
            networks.append(ipaddress.IPv4Network(str(route.get("dst", "")), strict=False))
        except ValueError:
            continue
    return networks


def free_network(
    candidates: Iterable[ipaddress.IPv4Network], taken: Sequence[ipaddress.IPv4Network]
) -> ipaddress.IPv4Network | None:
    return next((one for one in candidates if not any(one.overlaps(other) for other in taken)), None)


def _uplink_mtu() -> int:
    """Of the interface that the default route takes: a larger one inside would lose packets where nobody answers for
    them.
    """
    routes = msgspec.json.decode(
        _run(["ip", "-4", "-json", "route", "show", "default"]) or b"[]", type=list[dict[str, object]]
    )
    for route in routes:
        try:
            return int((LINKS / str(route.get("dev")) / "mtu").read_text())
        except (OSError, ValueError):
            continue
    return 1500


def _chains() -> bytes:
    return _run(["nft", "-json", "list", "chains"])


def _objects(document: bytes, kind: str) -> list[dict[str, object]]:
    decoded = msgspec.json.decode(document or b"{}", type=dict[str, list[dict[str, dict[str, object]]]])
    return [entry[kind] for entry in decoded.get("nftables", []) if kind in entry]


def _ip(*commands: str) -> None:
    _run(["ip", "-batch", "-"], "\n".join(commands) + "\n")


def _run(args: Sequence[str], text: str = "") -> bytes:
    """Run a tool in the calling thread's namespace. Raises UnavailableError with what it said."""
    program = shutil.which(args[0], path=SEARCH_PATH) or args[0]
    try:
        done = subprocess.run(
            [program, *args[1:]], input=text.encode(), capture_output=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"`{args[0]}` does not end") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UnavailableError(f"`{' '.join(args)}`: {said[0] if said else f'exit code {done.returncode}'}")
    return done.stdout


def _quiet(action: Callable[[], object]) -> None:
    try:
        action()
    except (OSError, UnavailableError) as error:
        log.debug("clearing up the bridge: %s", error)
