"""The files about names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import InvalidError
from boatyard.runtime.hosts import (
    PUBLIC_NAMESERVERS,
    Resolver,
    host_resolver,
    hosts_file,
    parse_resolver,
    reachable_nameservers,
    sandbox_resolver,
)


def test_the_host_name_is_on_loopback_without_an_address_of_its_own() -> None:
    assert hosts_file("box").splitlines()[0] == "127.0.0.1\tlocalhost box"


def test_the_host_name_has_the_containers_address() -> None:
    lines = hosts_file("box", address="10.0.0.2").splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert "10.0.0.2\tbox" in lines


def test_extra_hosts_follow_in_their_order() -> None:
    assert hosts_file("box", [("b", "1.2.3.4"), ("a", "fe80::1")]).endswith("1.2.3.4\tb\nfe80::1\ta\n")


def test_the_hosts_address_is_filled_in_where_it_is_known() -> None:
    wanted = [("host.docker.internal", "host-gateway"), ("b", "1.2.3.4")]
    assert hosts_file("box", wanted, gateway="10.0.0.1").endswith("10.0.0.1\thost.docker.internal\n1.2.3.4\tb\n")
    assert "127.0.0.1\thost.docker.internal\n" in hosts_file("box", wanted)
    assert "host.docker.internal" not in hosts_file("box", wanted, gateway="")


@pytest.mark.parametrize(
    ("name", "address"), [("a", "nonsense"), ("a", ""), ("a b", "1.1.1.1"), ("", "1.1.1.1"), ("a\nb", "::1")]
)
def test_a_senseless_extra_host_is_refused(name: str, address: str) -> None:
    with pytest.raises(InvalidError, match="extra host"):
        hosts_file("box", [(name, address)])


def test_a_resolver_is_parsed_and_rendered() -> None:
    text = (
        "# made by hand\nnameserver 1.1.1.1 \n;x\nsearch a.b\nsearch c.d e.f\noptions ndots:2\noptions rotate\nbogus\n"
    )
    resolver = parse_resolver(text)
    assert resolver == Resolver(("1.1.1.1",), ("c.d", "e.f"), ("ndots:2", "rotate"))
    assert parse_resolver(resolver.render()) == resolver


@given(st.text(max_size=300))
def test_any_resolver_file_survives_a_round_trip(text: str) -> None:
    resolver = parse_resolver(text)
    assert parse_resolver(resolver.render()) == resolver


@pytest.mark.parametrize(
    ("servers", "kept"),
    [
        (["127.0.0.53", "::1", "10.0.0.1"], ("10.0.0.1",)),
        (["fe80::1%eth0", "fd00::53", "0.0.0.0", "junk"], ("fd00::53",)),
        (["169.254.1.1"], ()),
    ],
)
def test_servers_of_the_hosts_own_are_left_out_of_a_sandbox(servers: list[str], kept: tuple[str, ...]) -> None:
    assert reachable_nameservers(servers) == kept


def test_systemds_own_list_replaces_its_stub(tmp_path: Path) -> None:
    (tmp_path / "stub").write_text("nameserver 127.0.0.53\nsearch lan\n")
    (tmp_path / "upstream").write_text("nameserver 192.0.2.1\nsearch lan\n")
    assert sandbox_resolver(tmp_path / "stub", tmp_path / "upstream") == (Resolver(("192.0.2.1",), ("lan",)), True)


def test_public_servers_are_the_last_resort_and_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "stub").write_text("nameserver 127.0.0.1\n")
    resolver, reachable = sandbox_resolver(tmp_path / "stub", tmp_path / "none")
    assert (resolver.nameservers, reachable) == (PUBLIC_NAMESERVERS, False)


def test_a_host_without_the_file_has_no_servers(tmp_path: Path) -> None:
    assert host_resolver(tmp_path / "none") == Resolver()
