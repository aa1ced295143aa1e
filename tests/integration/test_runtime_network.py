"""Networks of containers: none, the host's, and one behind a bridge of our own."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from boatyard.errors import UnsupportedError
from boatyard.image.bootstrap.sources import host_sources
from boatyard.runtime import bridge, kernel
from boatyard.runtime.bridge import BridgePool
from boatyard.runtime.container import ContainerSpec, Network, Stdio
from boatyard.runtime.executor import OciExecutor
from boatyard.runtime.network import Mode
from integration.conftest import ExecutorFactory, run_in

pytestmark = [pytest.mark.root, pytest.mark.runtime]


@pytest.fixture
async def bridged(make_executor: ExecutorFactory) -> OciExecutor:
    executor = await make_executor(network=Mode.AUTO)
    choice = await executor.network()
    if choice.mode is not Mode.BRIDGE:
        pytest.skip(f"no bridge here: {choice.reason}")
    return executor


@pytest.fixture
async def web() -> AsyncIterator[int]:
    """A server on all of this host's addresses that says hello; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def apt_host() -> str:
    """A name that this machine's resolver knows: that of the mirror its apt uses."""
    names = [urlsplit(source.uri).hostname for source in host_sources()]
    return next(name for name in names if name)


def do(*args: str) -> str:
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def address(text: str) -> ipaddress.IPv4Address:
    found = re.search(r"inet (\S+)/\d+ scope global eth0", text)
    assert found is not None, text
    return ipaddress.IPv4Address(found.group(1))


async def test_without_a_network_there_is_only_a_working_loopback(each_executor: OciExecutor, root: Path) -> None:
    outcome = await run_in(
        each_executor,
        root,
        "sh",
        "-c",
        "ls /sys/class/net; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up",
        network=Network.NONE,
    )
    assert outcome.lines == ["lo", "up"]


async def test_the_hosts_network_is_the_hosts(each_executor: OciExecutor, root: Path) -> None:
    outcome = await run_in(each_executor, root, "readlink", "/proc/self/ns/net", network=Network.HOST)
    assert outcome.out.strip() == os.readlink("/proc/self/ns/net")


async def test_by_default_a_container_has_an_address_behind_the_bridge(bridged: OciExecutor, root: Path) -> None:
    outcome = await run_in(bridged, root, "sh", "-c", "ip address; cat /etc/hosts", hostname="box")
    own = address(outcome.out)
    assert own.is_private
    assert f"{own}\tbox" in outcome.lines


async def test_the_host_is_reached_through_the_bridge(bridged: OciExecutor, root: Path, web: int) -> None:
    gateway = "$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')"
    outcome = await run_in(bridged, root, "sh", "-c", f"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 {gateway} {web}")
    assert outcome.lines[-1:] == ["hello"], outcome.err


async def test_runc_joins_the_sandbox_as_well(make_executor: ExecutorFactory, root: Path) -> None:
    if shutil.which("runc", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("needs runc")
    executor = await make_executor("runc", network=Mode.AUTO)
    if (await executor.network()).mode is not Mode.BRIDGE:
        pytest.skip("no bridge here")
    assert address((await run_in(executor, root, "ip", "address")).out).is_private


async def test_containers_dont_reach_one_another(bridged: OciExecutor, root: Path) -> None:
    other = shutil.copytree(root, root.parent / "other", symlinks=True)
    ready, said = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    command = "ip -4 address show eth0; exec nc -l -p 7000"
    listening = asyncio.create_task(
        bridged.run(ContainerSpec(root=root, args=("sh", "-c", command), env=("PATH=/bin",)), Stdio(null, said, 2))
    )
    text = ""
    while "eth0" not in text or "inet" not in text:
        text += (await asyncio.to_thread(os.read, ready, 1000)).decode()
    target = address(text)
    outcome = await run_in(bridged, other, "sh", "-c", f"nc -w 1 {target} 7000 </dev/null && echo reached")
    listening.cancel()
    await asyncio.wait((listening,))
    for descriptor in (ready, said, null):
        os.close(descriptor)
    assert outcome.out == ""


async def test_a_namespace_is_used_again_unless_it_could_be_changed(bridged: OciExecutor, root: Path) -> None:
    async def namespace(**options: object) -> str:
        return (await run_in(bridged, root, "readlink", "/proc/self/ns/net", **options)).out

    first = await namespace(insecure=True)
    later = {await namespace() for _ in range(bridge.IDLE * 3)}
    assert first not in later
    assert len(later) <= bridge.IDLE + 1


async def test_no_two_containers_share_a_namespace(bridged: OciExecutor, root: Path) -> None:
    roots = [shutil.copytree(root, root.parent / f"root{n}", symlinks=True) for n in range(8)]
    command = ("sh", "-c", "readlink /proc/self/ns/net; sleep 0.2")
    outcomes = await asyncio.gather(*(run_in(bridged, own, *command) for own in roots))
    assert len({outcome.out for outcome in outcomes}) == len(roots)


async def test_closing_takes_bridge_and_rules_away_and_nothing_else(make_executor: ExecutorFactory, root: Path) -> None:
    def rules() -> str:
        return do("nft", "list", "tables")

    def links() -> set[str]:
        return {path.name for path in Path("/sys/class/net").iterdir()}

    do("ip", "link", "add", "boatother", "type", "bridge")
    do("nft", "add", "table", "ip", "boatyard_other")
    try:
        executor = await make_executor(network=Mode.AUTO)
        if (await executor.network()).mode is not Mode.BRIDGE:
            pytest.skip("no bridge here")
        await run_in(executor, root, "true")
        assert f"boat{executor.instance}" in links()
        await executor.close()
        assert not [name for name in links() if executor.instance in name]
        assert executor.instance not in rules()
        assert "boatother" in links()
        assert "boatyard_other" in rules()
    finally:
        do("ip", "link", "delete", "boatother")
        do("nft", "delete", "table", "ip", "boatyard_other")


async def test_modes_host_and_none_are_what_default_is_then(make_executor: ExecutorFactory, root: Path) -> None:
    host = await make_executor(network=Mode.HOST)
    assert (await run_in(host, root, "readlink", "/proc/self/ns/net")).out.strip() == os.readlink("/proc/self/ns/net")
    await host.close()
    none = await make_executor(network=Mode.NONE)
    assert (await run_in(none, root, "ls", "/sys/class/net")).lines == ["lo"]


def test_two_bridges_take_different_networks() -> None:
    first, second = BridgePool("aaaa0001"), BridgePool("aaaa0002")
    try:
        first.open()
        second.open()
        addresses = {ipaddress.IPv4Address(pool.acquire().address) for pool in (first, second)}
        networks = [network for network in bridge.CANDIDATES for one in addresses if one in network]
        assert len(set(networks)) == 2
    except UnsupportedError as error:
        pytest.skip(str(error))
    finally:
        first.close()
        second.close()


def test_a_host_that_drops_forwarded_packets_gets_no_bridge() -> None:
    if shutil.which("nft", path=bridge.SEARCH_PATH) is None:
        pytest.skip("needs nft")
    outcome: list[str] = []

    def work() -> None:
        kernel.unshare(kernel.CLONE_NEWNET)
        rules = "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }\n"
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
        try:
            BridgePool("aaaa0003").open()
        except UnsupportedError as error:
            outcome.append(error.message)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == ["this host drops forwarded packets (policy of the chain ip filter FORWARD)"]


def test_a_configured_network_is_taken_and_a_wrong_one_named() -> None:
    pool = BridgePool("aaaa0004", "10.250.0.0/24")
    try:
        pool.open()
        assert ipaddress.IPv4Address(pool.acquire().address) in ipaddress.IPv4Network("10.250.0.0/24")
    except UnsupportedError as error:
        pytest.skip(str(error))
    finally:
        pool.close()
    with pytest.raises(UnsupportedError, match="is not a network"):
        BridgePool("aaaa0004", "10.250.0.1/24").open()


@pytest.mark.network
async def test_names_resolve_and_packages_are_fetched_behind_the_bridge(bridged: OciExecutor, root: Path) -> None:
    outcome = await run_in(bridged, root, "nslookup", apt_host())
    assert outcome.code == 0, outcome.out + outcome.err


def test_bridges_that_are_made_at_once_have_networks_of_their_own(bridged: OciExecutor) -> None:
    pools = [BridgePool(f"{number:08x}") for number in range(0xB0A70000, 0xB0A70004)]
    try:
        with ThreadPoolExecutor(len(pools)) as threads:
            list(threads.map(BridgePool.open, pools))
        networks = {str(pool._network) for pool in pools}
        assert len(networks) == len(pools)
    finally:
        for pool in pools:
            pool.close()
