"""buildkitd's command line: all its flags, by name.

`--flag=value` and `--flag value` are the same; flags that are on or off may do without a value; lists are flags given
several times. A flag that was not given is not in what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

BOOLEANS = {
    "rootless": "Not supported yet.",
    "debug": "The same as --log-level=debug.",
    "trace": "The same as --log-level=trace.",
    "proxy-network": "Not supported yet.",
    "cdi-disabled": "No devices of the Container Device Interface.",
    "save-cache-debug": "Taken; why a step missed the cache is always known (`boat build --explain`).",
    "oci-worker-rootless": "Not supported yet.",
    "oci-worker-selinux": "Not supported yet.",
    "oci-worker-no-process-sandbox": "Not supported yet.",
    "oci-worker-gc": "Collect garbage after builds (default: true).",
    "containerd-worker-gc": "Of the containerd worker, which is not supported.",
    "containerd-worker-rootless": "Of the containerd worker, which is not supported.",
    "containerd-worker-selinux": "Of the containerd worker, which is not supported.",
}
TEXTS = {
    "config": "Configuration file (default: /etc/buildkit/buildkitd.toml).",
    "root": "Where everything is kept (default: /var/lib/buildkit).",
    "log-format": "json or text.",
    "log-level": "trace, debug, info, warn or error.",
    "group": "Group (name or number) that the unix sockets belong to.",
    "debugaddr": "Where to tell of the daemon's insides over HTTP: HOST:PORT or unix://PATH.",
    "tlscert": "Certificate file of the tcp:// addresses.",
    "tlskey": "Its key.",
    "tlscacert": "Whose certificates clients must have.",
    "otel-socket-path": "Taken; steps are not traced yet.",
    "oci-worker": "true, false or auto.",
    "oci-worker-snapshotter": "auto, overlayfs or native.",
    "oci-worker-proxy-snapshotter-path": "Not supported.",
    "oci-worker-net": "auto, bridge or host.",
    "oci-worker-binary": "OCI runtime: a name (crun, runc) or a path.",
    "oci-worker-apparmor-profile": "Not supported yet.",
    "oci-worker-gc-keepstorage": "Bounds of garbage collection, in MB: RESERVED[,FREE[,MAXIMUM]].",
    "oci-cni-config-path": "Not supported yet.",
    "oci-cni-binary-dir": "Not supported yet.",
    "containerd-worker": "true is not supported.",
    "containerd-worker-addr": "Of the containerd worker, which is not supported.",
    "containerd-worker-namespace": "Of the containerd worker, which is not supported.",
    "containerd-worker-runtime": "Of the containerd worker, which is not supported.",
    "containerd-worker-net": "Of the containerd worker, which is not supported.",
    "containerd-worker-snapshotter": "Of the containerd worker, which is not supported.",
    "containerd-worker-apparmor-profile": "Of the containerd worker, which is not supported.",
    "containerd-worker-gc-keepstorage": "Of the containerd worker, which is not supported.",
    "containerd-cni-config-path": "Of the containerd worker, which is not supported.",
    "containerd-cni-binary-dir": "Of the containerd worker, which is not supported.",
}
NUMBERS = {
    "oci-max-parallelism": "Steps that run at once; 0 chooses.",
    "oci-cni-pool-size": "Not supported yet.",
    "containerd-max-parallelism": "Of the containerd worker, which is not supported.",
    "containerd-cni-pool-size": "Of the containerd worker, which is not supported.",
}
LISTS = {
    "addr": "Where to listen: unix://PATH, tcp://HOST:PORT or fd:// (default: unix:///run/buildkit/buildkitd.sock).",
    "allow-insecure-entitlement": "What builds may ask for: network.host, security.insecure, device.",
    "cdi-spec-dir": "Directories with specifications of devices.",
    "oci-worker-labels": "Labels of the worker: NAME=VALUE.",
    "oci-worker-platform": "Platforms that clients are told of.",
    "containerd-worker-labels": "Of the containerd worker, which is not supported.",
    "containerd-worker-platform": "Of the containerd worker, which is not supported.",
}


def options() -> list[click.Option]:
    """One for each flag."""
    made = [
        *(
            click.Option([f"--{name}"], type=bool, is_flag=False, flag_value="true", help=text, metavar="BOOL")
            for name, text in BOOLEANS.items()
        ),
        *(click.Option([f"--{name}"], help=text, metavar="VALUE") for name, text in TEXTS.items()),
        *(click.Option([f"--{name}"], type=int, help=text, metavar="NUMBER") for name, text in NUMBERS.items()),
        *(click.Option([f"--{name}"], multiple=True, help=text, metavar="VALUE") for name, text in LISTS.items()),
    ]
    for option in made:
        option.hidden = option.opts[0].startswith("--containerd-")
    return made


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What click found, by the flags' own names."""
    return {name.replace("_", "-"): value for name, value in parameters.items() if value is not None and value != ()}
