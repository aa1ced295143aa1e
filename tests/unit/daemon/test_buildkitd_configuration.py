"""buildkitd's flags and configuration file, as the daemon's own configuration."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard import BUILDKIT_VERSION
from boatyard.daemon.buildkitd import document, flags, translation
from boatyard.daemon.config import Config, KeyPair, RegistryConfig
from boatyard.errors import BoatyardError, InvalidError, StorageError, UnsupportedError


def parsed(*arguments: str) -> dict[str, Any]:
    """Flags as they come out of a command line."""
    found: dict[str, Any] = {}
    command = click.Command("buildkitd", callback=lambda **given: found.update(given), params=[*flags.options()])
    command.main(list(arguments), standalone_mode=False)
    return flags.given(found)


def translated(text: str = "", *arguments: str, environ: dict[str, str] | None = None) -> tuple[Config, list[str]]:
    found, warnings = document.parse(tomllib.loads(text), "buildkitd.toml")
    config, remarks = translation.translate(found, parsed(*arguments), environ or {})
    return config, warnings + remarks


def config(text: str = "", *arguments: str, environ: dict[str, str] | None = None) -> Config:
    """Without warnings."""
    found, warnings = translated(text, *arguments, environ=environ)
    assert warnings == []
    return found


# -- the command line ------------------------------------------------------------------------------------------------


def test_a_value_stands_behind_an_equals_sign_or_a_space() -> None:
    assert parsed("--root=/a", "--addr", "unix:///b", "--addr=tcp://c:1") == {
        "root": "/a",
        "addr": ("unix:///b", "tcp://c:1"),
    }


def test_flags_that_are_on_or_off_may_do_without_a_value() -> None:
    given = parsed("--debug", "--oci-worker-gc=false", "--cdi-disabled=true", "--root", "/a")
    assert given == {"debug": True, "oci-worker-gc": False, "cdi-disabled": True, "root": "/a"}


def test_flags_that_are_not_given_are_not_there() -> None:
    assert parsed() == {}


def test_a_misspelt_flag_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(click.NoSuchOption) as caught:
        parsed("--oci-worker-binry=crun")
    assert "--oci-worker-binary" in caught.value.format_message()


def test_every_flag_of_buildkitd_is_there() -> None:
    names = {option.opts[0] for option in flags.options()}
    assert len(names) == len(flags.options())
    assert {
        "--rootless", "--config", "--debug", "--trace", "--root", "--addr", "--log-format", "--log-level", "--group",
        "--debugaddr", "--tlscert", "--tlskey", "--tlscacert", "--allow-insecure-entitlement", "--proxy-network",
        "--otel-socket-path", "--cdi-disabled", "--cdi-spec-dir", "--save-cache-debug", "--oci-worker",
        "--oci-worker-labels", "--oci-worker-snapshotter", "--oci-worker-proxy-snapshotter-path",
        "--oci-worker-platform", "--oci-worker-net", "--oci-worker-binary", "--oci-worker-apparmor-profile",
        "--oci-worker-selinux", "--oci-worker-no-process-sandbox", "--oci-worker-gc", "--oci-worker-gc-keepstorage",
        "--oci-cni-config-path", "--oci-cni-binary-dir", "--oci-cni-pool-size", "--oci-max-parallelism",
        "--containerd-worker", "--containerd-worker-labels", "--containerd-worker-snapshotter",
        "--containerd-worker-platform", "--containerd-worker-net", "--containerd-worker-apparmor-profile",
        "--containerd-worker-gc", "--containerd-worker-gc-keepstorage", "--containerd-cni-config-path",
        "--containerd-cni-binary-dir", "--containerd-cni-pool-size", "--containerd-max-parallelism",
        "--containerd-worker-addr", "--containerd-worker-namespace", "--containerd-worker-runtime",
    } <= names  # fmt: skip


# -- what becomes of it ----------------------------------------------------------------------------------------------


def test_without_anything_the_defaults_are_buildkitds() -> None:
    found = config()
    assert (found.root, found.run) == ("/var/lib/buildkit", "/var/lib/buildkit/run")
    assert found.listen == ("unix:///run/buildkit/buildkitd.sock",)
    assert (found.group, found.idle_timeout) == ("", 0)
    assert found.entitlements == ("device",)
    assert (found.history.max_age, found.history.max_entries) == (48 * 3600, 50)
    assert found.gc.enabled


FULL = """
root = "/state"
insecure-entitlements = ["network.host", "security.insecure"]
[log]
format = "json"
level = "warn"
[dns]
nameservers = ["1.1.1.1"]
options = ["edns0"]
searchDomains = ["example.com"]
[grpc]
address = ["unix:///a.sock", "unix:///b.sock"]
debugAddress = "127.0.0.1:6060"
uid = 7
gid = 8
[cdi]
disabled = true
[history]
maxAge = 3600
maxEntries = 5
[worker.oci]
enabled = true
platforms = ["linux/amd64", "linux/arm64"]
snapshotter = "native"
gc = true
binary = "runc"
max-parallelism = 3
networkMode = "host"
bridgeSubnet = "10.9.0.0/16"
defaultCgroupParent = "/builds"
[worker.oci.labels]
foo = "bar"
[[worker.oci.gcpolicy]]
reservedSpace = "512MB"
maxUsedSpace = "10%"
minFreeSpace = 1024000000
keepDuration = "48h"
filters = ["type==source.local"]
[[worker.oci.gcpolicy]]
all = true
keepBytes = "1GB"
keepDuration = 60
[worker.containerd]
enabled = false
[frontend."dockerfile.v0"]
enabled = false
[frontend."gateway.v0"]
enabled = false
allowedRepositories = ["example.com/a"]
[system]
platformsCacheMaxAge = "1h"
"""


def test_what_the_file_says_is_heeded() -> None:
    found = config(FULL)
    assert (found.root, found.listen) == ("/state", ("unix:///a.sock", "unix:///b.sock"))
    assert (found.owner, found.group, found.debug_address) == (7, "8", "127.0.0.1:6060")
    assert found.entitlements == ("network.host", "security.insecure")
    assert (found.log.format, found.log.level) == ("json", "warning")
    assert (found.network.mode, found.network.subnet) == ("host", "10.9.0.0/16")
    assert (found.network.dns, found.network.dns_options) == (("1.1.1.1",), ("edns0",))
    assert found.network.dns_search == ("example.com",)
    assert (found.history.max_age, found.history.max_entries) == (3600, 5)
    assert (found.platforms, found.snapshotter) == (("linux/amd64", "linux/arm64"), "native")
    assert (found.runtime.name, found.max_parallelism, found.cgroup_parent) == ("runc", 3, "/builds")
    assert found.labels == {"foo": "bar"}
    assert (found.frontend.dockerfile, found.frontend.gateway) == (False, False)
    assert found.frontend.gateway_repositories == ("example.com/a",)
    first, second = found.gc.policies
    assert (first.reserved_space, first.min_free_space, first.keep_duration) == (512 << 20, 1024000000, 48 * 3600)
    assert first.max_used_space.of(1000) == 100
    assert first.filters == ("type==source.local",)
    assert (second.all, second.reserved_space, second.keep_duration) == (True, 1 << 30, 60)


def test_flags_win_over_the_file() -> None:
    found = config(
        FULL,
        *("--root=/other", "--addr", "unix:///c.sock", "--oci-worker-snapshotter=overlayfs", "--group=9"),
        *("--oci-worker-labels", "foo=baz", "--oci-worker-labels=a=b=c", "--oci-worker-gc=false"),
        *("--oci-worker-binary=/opt/crun", "--oci-max-parallelism=0", "--oci-worker-net=auto", "--debug"),
        *("--allow-insecure-entitlement=network.host", "--cdi-disabled=false", "--oci-worker-platform=linux/amd64"),
    )
    assert (found.root, found.run, found.listen) == ("/other", "/other/run", ("unix:///c.sock",))
    assert (found.snapshotter, found.group) == ("overlayfs", "9")
    assert found.labels == {"foo": "baz", "a": "b=c"}
    assert not found.gc.enabled
    assert (found.runtime.name, found.max_parallelism, found.network.mode) == ("/opt/crun", 0, "auto")
    assert found.log.level == "debug"
    assert found.entitlements == ("network.host", "device")
    assert found.platforms == ("linux/amd64",)


def test_tcp_is_served_as_buildkitd_serves_it() -> None:
    found = config("[grpc.tls]\ncert = '/c'\nkey = '/k'", "--addr=tcp://[::1]:1", "--tlscacert=/ca", "--tlskey=/o")
    assert found.listen == ("tcp://[::1]:1",)
    assert (found.tls.cert, found.tls.key, found.tls.ca) == ("/c", "/o", "/ca")
    assert config("", "--addr=tcp://127.0.0.1:1").listen == ("tcp://127.0.0.1:1",)


def test_sockets_may_come_from_systemd() -> None:
    # It listens at those it is passed; what it would make itself is not made then.
    assert config("", "--addr=fd://", environ={"LISTEN_FDS": "1"}).run == "/var/lib/buildkit/run"
    with pytest.raises(InvalidError, match="systemd passed no sockets"):
        config("", "--addr=fd://")
    for addresses in (("fd://", "unix:///a"), ("fd://3",)):
        with pytest.raises(UnsupportedError, match="fd:// stands alone"):
            config("", *(f"--addr={address}" for address in addresses), environ={"LISTEN_FDS": "1"})


def test_the_environment_stands_between() -> None:
    environ = {
        "BUILDKITD_DEBUGADDR": "unix:///d.sock",
        "BUILDKITD_LOG_LEVEL": "error",
        "BUILDKIT_DEBUG_EXEC_OUTPUT": "1",
    }
    found = config(FULL, environ=environ)
    assert (found.debug_address, found.log.level) == ("unix:///d.sock", "error")
    assert found.log.step_output
    found = config(FULL, "--debugaddr=:1", "--log-level=info", environ=environ)
    assert (found.debug_address, found.log.level) == (":1", "info")


@pytest.mark.parametrize(
    ("text", "arguments", "bounds"),
    [
        ("", (), (None, None, None)),
        ('reservedSpace = "1GB"', (), (1 << 30, 0, 0)),
        ('gckeepstorage = "2GB"', (), (2 << 30, 0, 0)),
        ('gckeepstorage = "2GB"\nmaxUsedSpace = 5', (), (0, 0, 5)),
        ("minFreeSpace = 7", (), (0, 7, 0)),
        ("minFreeSpace = 7", ("--oci-worker-gc-keepstorage=1",), (1_000_000, 0, 0)),
        ("", ("--oci-worker-gc-keepstorage=1,2,3",), (1_000_000, 2_000_000, 3_000_000)),
    ],
)
def test_one_bound_of_the_garbage_stands_for_all(
    text: str, arguments: tuple[str, ...], bounds: tuple[int | None, ...]
) -> None:
    gc = config(f"[worker.oci]\n{text}", *arguments).gc
    assert (gc.reserved_space, gc.min_free_space, gc.max_used_space) == bounds


def test_registries_are_configured_as_in_buildkitd() -> None:
    text = """
        [registry."docker.io"]
        mirrors = ["localhost:5000"]
        ca = ["/ca.pem"]
        tlsconfigdir = ["/etc/certs.d"]
        [[registry."docker.io".keypair]]
        key = "/k"
        cert = "/c"
        [registry."localhost:5000"]
        http = true
        """
    found, warnings = translated(text)
    assert found.registry["docker.io"] == RegistryConfig(
        mirrors=("localhost:5000",), ca=("/ca.pem",), keypair=(KeyPair("/k", "/c"),), tls_directories=("/etc/certs.d",)
    )
    assert found.registry["localhost:5000"].http
    assert warnings == []


def test_keys_are_taken_in_any_case() -> None:
    assert config("[History]\nMaxEntries = 3\n[worker.OCI]\nMAX-parallelism = 2").history.max_entries == 3


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("rot = '/x'", "unknown key 'rot' has no effect (did you mean 'root'?)"),
        ("[worker.oci]\nmax_paralelism = 1", "has no effect (did you mean 'max-parallelism'?)"),
        ("[[worker.oci.gcpolicy]]\nkeepDuratoin = 1", "'worker.oci.gcpolicy.1.keepDuratoin'"),
        ("[registry.x]\nmirors = []", "'registry.x.mirors'"),
        ("[otel]\nsocketPath = '/s'", "not traced yet"),
        ("debug = true", "use log.level = 'debug'"),
        ("provenanceEnvDir = '/p'", "provenanceEnvDir has no effect"),
        ("[worker.oci]\ncniPoolSize = 3", "CNI is not supported yet"),
        ("[system]\nmaxRegistryConcurrency = 3", "maxRegistryConcurrency has no effect"),
        ("[cache.gha.verify]\nrequired = true", "GitHub's cache"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told(text: str, warning: str) -> None:
    _, warnings = translated(text)
    assert any(warning in each for each in warnings), warnings


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("[worker.containerd]\nenabled = true", (), "a containerd worker is not supported"),
        ("", ("--containerd-worker=true",), "a containerd worker is not supported"),
        ("", ("--oci-worker=false",), "without the OCI worker"),
        ("", ("--rootless",), "rootless mode is not supported yet"),
        ("[worker.oci]\nrootless = true", (), "rootless mode"),
        ("[worker.oci]\nselinux = true", (), "SELinux"),
        ("[worker.oci]\napparmor-profile = 'p'", (), "AppArmor"),
        ("[worker.oci]\nnoProcessSandbox = true", (), "without a sandbox"),
        ("", ("--proxy-network",), "proxy network"),
        ("", ("--oci-worker-net=cni",), "CNI networks"),
        ("", ("--oci-worker-snapshotter=stargz",), "stargz"),
        ("[worker.oci]\nproxySnapshotterPath = '/p'", (), "proxy snapshotter"),
    ],
)
def test_what_would_change_builds_is_refused(text: str, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        translated(text, *arguments)


def test_switching_off_what_is_not_there_is_no_matter() -> None:
    config("[worker.containerd]\nenabled = true", "--containerd-worker=false", "--rootless=false")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("root = 1", (), r"buildkitd.toml: Expected `str`, got `int` - at `\$.root`"),
        ("[history]\nmaxAge = 'x'", (), "is not a duration"),
        ("[worker.oci]\nreservedSpace = 'many'", (), "is not a size"),
        ("[worker.oci]\nreservedSpace = -1", (), "is not a size"),
        ("[worker]\noci = 3", (), r"\$.worker.oci"),
        ("insecure-entitlements = ['network.hots']", (), "unknown entitlement"),
        ("[log]\nlevel = 'wran'", (), "no log level 'wran'"),
        ("[log]\nformat = 'xml'", (), "no log format"),
        ("", ("--oci-worker-labels=x",), "malformed"),
        ("", ("--addr=/run/x.sock",), "write unix:///PATH"),
        ("", ("--addr=tcp://localhost:1", "--tlscert=/c"), "a certificate and its key"),
        ("", ("--oci-worker=perhaps",), "neither true, false nor auto"),
        ("", ("--oci-worker-gc-keepstorage=1,b",), "RESERVED"),
        ("", ("--oci-worker-snapshotter=overlay",), "no snapshotter 'overlay'"),
        ("", ("--oci-worker-net=hots",), "no network mode"),
        ("", ("--oci-worker-platform=a/b/c/d",), "platform"),
        ("[registry.a]\nkeypair = [{key = 'k'}]", (), "without a key or a cert"),
    ],
)
def test_what_is_malformed_is_named(text: str, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        translated(text, *arguments)
    import re

    assert re.search(message, f"{caught.value.message} {caught.value.hint}")


def test_there_need_be_no_file(tmp_path: Path) -> None:
    assert document.read(str(tmp_path / "none.toml")) == (document.Document(), [])
    (tmp_path / "bad.toml").write_text("root = ")
    with pytest.raises(InvalidError, match="not valid TOML"):
        document.read(str(tmp_path / "bad.toml"))
    with pytest.raises(StorageError, match="can't read"):
        document.read(str(tmp_path))


_VALUES = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text("aG1%", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["worker", "oci", "gcpolicy", "registry", "docker.io", "keypair", "labels", "root", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["worker", "registry", "root", "grpc", "history", "y"]), _VALUES))
def test_any_file_is_taken_or_refused(raw: dict[str, Any]) -> None:
    try:
        found, _ = document.parse(raw, "f")
        translation.translate(found, {}, {})
    except BoatyardError:
        pass


def test_the_version_compares_as_buildkits_do() -> None:
    """`>= 0.26.0-0`, and `>= 0.26.0` too: a part after a plus sign doesn't count, one after a dash would."""
    core, plus, build = BUILDKIT_VERSION.removeprefix("v").partition("+")
    assert tuple(map(int, core.split("."))) >= (0, 26, 0)
    assert plus and build.startswith("boatyard.")
