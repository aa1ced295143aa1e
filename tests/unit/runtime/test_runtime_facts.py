"""Small facts about the host and its programs, read from text and files."""

from __future__ import annotations

import ipaddress
import json
import os
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import NotFoundError, UnsupportedError
from boatyard.runtime import bridge, capabilities, emulation, init, kernel, leftovers, owner, probe, proxy, qemu, trust
from boatyard.runtime.owner import Owner


def test_capability_masks_are_decoded(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t000001fffeffffff\nCapAmb:\t0\n")
    assert capabilities.bounding(status) == frozenset(capabilities.NAMES) - {"CAP_SYS_RESOURCE"}
    assert capabilities.decode(0xA80425FB) == frozenset(capabilities.DEFAULT)


def test_capabilities_are_granted_in_the_order_asked_for() -> None:
    granted, refused = capabilities.intersect(
        ("CAP_KILL", "CAP_BPF", "CAP_CHOWN"), frozenset({"CAP_CHOWN", "CAP_KILL"})
    )
    assert (granted, refused) == (("CAP_KILL", "CAP_CHOWN"), ("CAP_BPF",))


def test_proxy_settings_come_in_both_spellings() -> None:
    found = proxy.from_environment({"http_proxy": "a", "HTTP_PROXY": "b", "NO_PROXY": "c", "FTP_PROXY": "", "X": "y"})
    assert found == {"HTTP_PROXY": "a", "http_proxy": "a", "NO_PROXY": "c", "no_proxy": "c"}


def test_a_steps_own_proxy_setting_counts_in_either_spelling() -> None:
    settings = proxy.from_environment({"http_proxy": "host", "no_proxy": "c"})
    assert proxy.missing_from(["Http_Proxy=mine"], settings) == ("NO_PROXY=c", "no_proxy=c")


def test_the_hosts_bundle_is_that_of_the_variable(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(b"CERT")
    assert trust.host_bundle({"SSL_CERT_FILE": str(tmp_path / "bundle")}) == b"CERT"


def test_a_host_without_a_bundle_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "HOST_BUNDLES", ())
    with pytest.raises(NotFoundError) as caught:
        trust.host_bundle({"SSL_CERT_FILE": "/no/such"})
    assert "ca-certificates" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("own", "added", "expected"),
    [(b"A\n", b"B\n", b"A\nB\n"), (b"A", b"B\n", b"A\nB\n"), (b"\n \n", b"B\n", b"B\n"), (b"A\n\n\n", b"B", b"A\nB")],
)
def test_bundles_are_joined_line_by_line(own: bytes, added: bytes, expected: bytes) -> None:
    assert trust.combine(own, added) == expected


@pytest.mark.parametrize(
    ("command", "covers"),
    [
        ("apt-get install -y ca-certificates", False),
        ("apk add ca-certificates && true", False),
        ("update-ca-certificates", False),
        ("update-ca-trust extract", False),
        ("trust extract-compat", False),
        ("curl --cacert /etc/ssl/certs/ca-certificates.crt https://x", True),
        ("ls /usr/share/ca-certificates/mozilla", True),
        ("apt-get install ca-certificates-java", True),
        ("pip install x", True),
    ],
)
def test_a_step_that_replaces_the_bundle_is_recognised(command: str, covers: bool) -> None:
    assert trust.covers_system_bundle(("/bin/sh", "-c", command)) is covers


QEMU = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: {}\noffset 0\nmagic 7f45\nmask ff\n"


def test_registered_emulators_are_platforms(tmp_path: Path) -> None:
    (tmp_path / "qemu-aarch64").write_text(QEMU.format("OCF"))
    (tmp_path / "qemu-arm").write_text(QEMU.format("OC"))
    (tmp_path / "qemu-riscv64").write_text(QEMU.format("F").replace("enabled", "disabled"))
    (tmp_path / "python3.11").write_text(QEMU.format("F"))
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").write_text("")
    assert emulation.platforms(tmp_path) == ("linux/arm64",)
    assert [one.name for one in emulation.handlers(tmp_path)] == ["python3.11", "qemu-aarch64", "qemu-arm"]
    assert emulation.platforms(tmp_path / "none") == ()


def test_a_rule_tells_programs_by_their_header() -> None:
    """As Debian's package has them for these: one of each byte order."""
    arm, power = emulation.EMULATORS["qemu-aarch64"], emulation.EMULATORS["qemu-s390x"]
    magic = r"\x7f\x45\x4c\x46\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
    mask = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
    assert emulation.rule(arm, Path("/q")).decode() == f":qemu-aarch64:M::{magic}:{mask}:/q:OPF"
    magic = r"\x7f\x45\x4c\x46\x02\x02\x01" + r"\x00" * 9 + r"\x00\x02\x00\x16"
    mask = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xff\xfe\xff\xff"
    assert emulation.rule(power, Path("/q")).decode() == f":qemu-s390x:M::{magic}:{mask}:/q:OPF"


def test_emulators_are_registered_and_forgotten(tmp_path: Path) -> None:
    """On a directory in the place of the kernel's, which does as files do."""
    emulator = emulation.EMULATORS["qemu-riscv64"]
    with pytest.raises(UnsupportedError, match="not mounted"):
        emulation.register(emulator, Path("/q"), tmp_path)
    for name in ("status", "register", "qemu-riscv64-static"):
        (tmp_path / name).touch()
    emulation.register(emulator, Path("/q"), tmp_path)
    assert (tmp_path / "qemu-riscv64-static").read_text() == "-1"
    assert (tmp_path / "register").read_bytes().startswith(b":qemu-riscv64:M::")
    (tmp_path / "qemu-riscv64-static").unlink()
    with pytest.raises(NotFoundError, match="linux/riscv64"):
        emulation.unregister(emulator, tmp_path)
    (tmp_path / "qemu-riscv64").touch()
    emulation.unregister(emulator, tmp_path)
    assert (tmp_path / "qemu-riscv64").read_text() == "-1"


def test_a_dynamic_emulator_does_not_count(tmp_path: Path) -> None:
    emulator = emulation.EMULATORS["qemu-riscv64"]
    for name, segments in (("qemu-riscv64-static", (1, 3)), ("qemu-riscv64", (1,))):
        (tmp_path / name).write_bytes(elf(*segments))
        (tmp_path / name).chmod(0o755)
    assert qemu.find(emulator, tmp_path / "none", str(tmp_path)) == tmp_path / "qemu-riscv64"
    assert qemu.find(emulator, tmp_path, "/none") == tmp_path / "qemu-riscv64"
    assert qemu.find(emulation.EMULATORS["qemu-arm"], tmp_path, str(tmp_path)) is None


@given(st.text(max_size=200))
def test_any_registration_can_be_read(text: str) -> None:
    handler = emulation.parse_handler("qemu-arm", text)
    assert handler is None or handler.interpreter


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("crun version 1.8.1\ncommit: f8a096b\n", "1.8.1"),
        ("runc version 1.1.5+ds1\ncommit: 1.1.5\n", "1.1.5+ds1"),
        ("nonsense", ""),
    ],
)
def test_a_version_is_read(output: str, expected: str) -> None:
    assert probe.parse_version(output) == expected


def test_programs_are_told_apart_by_their_name(tmp_path: Path) -> None:
    for name in ("crun", "my-runc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    kinds = [probe.find(str(tmp_path / name))[0].kind for name in ("crun", "my-runc")]
    assert kinds == ["crun", "runc"]
    assert probe.find(str(tmp_path / "none")) == []


def elf(*segments: int, size: int = 2) -> bytes:
    """The header of a program with these segment types; `size` 2 is 64-bit."""
    ident = b"\x7fELF" + bytes((size, 1, 1)) + bytes(9)
    if size == 2:
        header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
        return header + b"".join(struct.pack("<I", kind) + bytes(52) for kind in segments)
    header = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, len(segments), 0, 0, 0)
    return header.ljust(52, b"\0") + b"".join(struct.pack("<I", kind) + bytes(28) for kind in segments) + bytes(64)


@pytest.mark.parametrize(
    ("content", "static"),
    [
        (elf(1, 1), True),
        (elf(1, 3, 1), False),
        (elf(1, 1, size=1), True),
        (elf(3, size=1), False),
        (b"#!/bin/sh\n", False),
        (b"", False),
    ],
)
def test_a_static_program_is_known_by_its_header(tmp_path: Path, content: bytes, static: bool) -> None:
    (tmp_path / "tini").write_bytes(content)
    assert init.is_static(tmp_path / "tini") is static


@given(st.binary(max_size=200))
def test_any_file_is_looked_at_without_an_error(content: bytes) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"boat-elf-{os.getpid()}"
    for data in (content, b"\x7fELF\x02\x01" + content, b"\x7fELF\x01\x02" + content):
        path.write_bytes(data)
        assert init.is_static(path) in (True, False)
    path.unlink()


def test_a_host_without_an_init_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        init.find(str(tmp_path))
    assert "tini" in (caught.value.hint or "")
    (tmp_path / "tini").write_bytes(elf(1))
    (tmp_path / "tini").chmod(0o755)
    assert init.find(str(tmp_path)) == tmp_path / "tini"


def test_routes_are_networks() -> None:
    routes = b'[{"dst":"default","dev":"eth0"},{"dst":"10.0.0.0/8"},{"dst":"192.0.2.7"},{"dst":"unreachable"},{}]'
    assert [str(network) for network in bridge.routed_networks(routes)] == ["10.0.0.0/8", "192.0.2.7/32"]
    assert bridge.routed_networks(b"") == []


def test_the_first_network_that_nobody_uses_is_taken() -> None:
    taken = [ipaddress.IPv4Network("10.0.0.0/8"), ipaddress.IPv4Network("172.27.5.0/24")]
    assert bridge.free_network(bridge.CANDIDATES, taken) == ipaddress.IPv4Network("172.29.0.0/16")
    assert bridge.free_network(bridge.CANDIDATES, [ipaddress.IPv4Network("0.0.0.0/0")]) is None


@pytest.mark.parametrize(
    ("family", "hook", "policy", "blocked"),
    [
        ("ip", "forward", "drop", True),
        ("inet", "forward", "drop", True),
        ("ip6", "forward", "drop", False),
        ("ip", "input", "drop", False),
        ("ip", "forward", "accept", False),
    ],
)
def test_a_policy_that_drops_forwarded_packets_is_seen(family: str, hook: str, policy: str, blocked: bool) -> None:
    chain = {"family": family, "table": "filter", "name": "F", "hook": hook, "policy": policy}
    listing = json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}, {"chain": {"family": "ip", "name": "own"}}]})
    assert bool(bridge.forwarding_obstacle(listing.encode())) is blocked


@pytest.fixture
def gone() -> Owner:
    """A process that once had this one's number."""
    return replace(owner.current(), started=1)


def test_an_owner_is_known_by_its_label(gone: Owner) -> None:
    assert owner.parse(str(owner.current())) == owner.current()
    assert not owner.current().is_gone()
    assert gone.is_gone()
    assert not replace(gone, namespace=1).is_gone(), "one of another namespace can't be judged"


@given(st.text(max_size=40))
def test_any_text_is_an_owner_or_none(text: str) -> None:
    found = owner.parse(text)
    assert found is None or owner.parse(str(found)) == found


def test_bridges_of_processes_that_are_gone_are_abandoned(tmp_path: Path, gone: Owner) -> None:
    labels = {
        "boat00000001": f"boatyard {owner.current()}",
        "boat00000002": f"boatyard {gone}",
        "boat00000003": f"other {gone}",
        "boat00000004": "",
        "boat00000005": "boatyard somebody else's words",
        "eth0": f"boatyard {gone}",
    }
    for name, label in labels.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ifalias").write_text(f"{label}\n")
    (tmp_path / "boat00000006").mkdir()
    assert bridge.abandoned(tmp_path) == ["00000002"]


def test_groups_of_this_instance_and_of_processes_that_are_gone_are_abandoned(tmp_path: Path, gone: Owner) -> None:
    groups = (
        f"cpu/boatyard-aaaaaaaa-{owner.current()}",
        f"memory/boatyard-aaaaaaaa-{owner.current()}",
        f"cpu/boatyard-bbbbbbbb-{gone}",
        f"boatyard-cccccccc-{gone}",
        f"cpu/boatyard-dddddddd-{owner.current()}",
        "cpu/boatyard-eeeeeeee",
        "cpu/docker",
    )
    for name in groups:
        (tmp_path / name).mkdir(parents=True)
    assert leftovers.abandoned_groups("aaaaaaaa", tmp_path) == [
        f"boatyard-aaaaaaaa-{owner.current()}",
        f"boatyard-bbbbbbbb-{gone}",
        f"boatyard-cccccccc-{gone}",
    ]


def test_paths_of_mountinfo_are_unescaped() -> None:
    assert kernel.unescape(r"/a\040b\134c\011d\012e") == "/a b\\c\td\ne"


def test_only_the_recorded_process_itself_is_killed(tmp_path: Path) -> None:
    own = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
    (tmp_path / "status").write_text(f'{{"pid": {os.getpid()}, "process-start-time": {own + 1}}}')
    (tmp_path / "state.json").write_text("not json")
    assert leftovers.kill_recorded(tmp_path) == []


def test_a_recorded_process_is_killed_and_waited_for(tmp_path: Path) -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    (tmp_path / "state.json").write_text(f'{{"init_process_pid": {pid}, "init_process_start": {int(fields[19])}}}')
    started = time.monotonic()
    assert leftovers.kill_recorded(tmp_path) == [pid]
    assert time.monotonic() - started < leftovers.PATIENCE
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
