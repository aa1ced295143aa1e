"""What this builder can do, by the names that BuildKit's clients ask for. What isn't here, clients don't use.

Names: moby/buildkit `solver/pb/caps.go`, `frontend/gateway/pb/caps.go`.
"""

from __future__ import annotations

from functools import cache

from boatyard._pb.apicaps_pb2 import APICap

LLB = (
    # sources
    "source.image", "source.image.resolvemode", "source.image.checksum", "source.ocilayout",
    "source.local", "source.local.unique", "source.local.sessionid", "source.local.includepatterns",
    "source.local.followpaths", "source.local.excludepatterns", "source.local.sharedkeyhint", "source.local.differ",
    "source.git", "source.git.keepgitdir", "source.git.fullurl", "source.git.httpauth", "source.git.knownsshhosts",
    "source.git.mountsshsock", "source.git.subdir", "source.git.checksum", "source.git.skipsubmodules",
    "source.http", "source.http.auth", "source.http.checksum", "source.http.perm", "source.http.header",
    "soruce.http.uidgid",  # it is spelled like that
    "source.buildop.llbfilename",
    # exec
    "exec.meta.base", "exec.meta.cdi", "exec.meta.cgroup.parent", "exec.meta.network", "exec.meta.proxyenv",
    "exec.meta.security", "exec.meta.security.devices.v1", "exec.meta.setsdefaultpath", "exec.meta.ulimit",
    "exec.meta.linux.resources", "exec.mount.bind", "exec.mount.bind.readwrite-nooutput", "exec.mount.cache",
    "exec.mount.cache.sharing", "exec.mount.cache.content", "exec.mount.selector", "exec.mount.tmpfs",
    "exec.mount.tmpfs.size", "exec.mount.secret", "exec.mount.ssh", "exec.secretenv", "exec.validexitcode",
    # files
    "file.base", "file.rm.wildcard", "file.rm.nofollowsymlink", "file.copy.includeexcludepatterns",
    "file.copy.requiredpaths", "file.copy.alwaysreplaceexistingdestpaths", "file.copy.modestring",
    "file.symlink.create",
    # the rest of the graph
    "mergeop", "diffop", "constraints", "platform", "meta.ignorecache", "meta.description", "meta.exportcache",
    # around it
    "exporter.image.annotations", "exporter.sourcedateepoch", "exporter.multiple", "exporter.session", "source.policy",
    "source.policy.session", "gc.freespacefilter", "history.filter",
)  # fmt: skip

FRONTEND = (
    "solve.base", "solve.inlinereturn", "return", "returnmap", "proto.refarray", "reference.output",
    "gateway.solve.metadata", "gateway.solve.evaluate", "gateway.evaluate", "gateway.warnings",
    "resolveimage", "resolveimage.resolvemode", "source.metaresolver",
    "source.metaresolver.http.checksumrequest", "readfile", "readdir", "statfile", "frontend.inputs",
    "frontend.caps", "gateway.exec", "gateway.exec.extrahosts", "gateway.exec.secretenv", "gateway.exec.signals",
    "gateway.exec.filesystem",
)  # fmt: skip


@cache
def messages(names: tuple[str, ...]) -> tuple[APICap, ...]:
    """Not to be changed."""
    return tuple(APICap(ID=name, Enabled=True) for name in sorted(names))
