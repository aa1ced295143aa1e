"""What this daemon doesn't have: containers, networks, volumes, plugins, a swarm.

Lists of them are empty, one of them can't be found, removing all that are unused removes none; only what would make one
is refused. So clients that look before they leap (`docker inspect`, `docker system prune`) work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from boatyard.api.engine.call import Answer, Call, Handler, json
from boatyard.api.engine.routes import Route
from boatyard.errors import NotFoundError, UnavailableError, UnsupportedError

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
_SWARM = ("swarm", "services", "nodes", "tasks", "secrets", "configs")
_RUN = "`boat run` runs an image"


def routes() -> tuple[Route, ...]:
    return (*_containers(), *_networks(), *_volumes(), *_plugins(), *_swarm())


def _containers() -> tuple[Route, ...]:
    missing = _missing("No such container: {name}")
    no_exec = _missing("No such exec instance: {name}")
    named = [
        *(("GET", verb) for verb in ("export", "changes", "json", "top", "logs", "stats", "attach/ws", "archive")),
        *(("POST", verb) for verb in ("kill", "pause", "unpause", "restart", "start", "stop", "wait", "resize")),
        *(("POST", verb) for verb in ("attach", "exec", "rename", "update")),
        ("HEAD", "archive"),
        ("PUT", "archive"),
    ]
    return (
        Route("GET", "/containers/json", _always([])),
        Route("POST", "/containers/create", _refused("creating containers", _RUN)),
        Route("POST", "/containers/prune", _always({"ContainersDeleted": None, "SpaceReclaimed": 0})),
        Route("POST", "/commit", _refused("making an image of a container", "build one from a Dockerfile")),
        *(Route(method, f"/containers/{{name}}/{verb}", missing) for method, verb in named),
        Route("DELETE", "/containers/{name}", missing),
        Route("GET", "/exec/{name}/json", no_exec),
        Route("POST", "/exec/{name}/start", no_exec),
        Route("POST", "/exec/{name}/resize", no_exec),
    )


def _networks() -> tuple[Route, ...]:
    missing = _missing("network {name} not found")
    return (
        Route("GET", "/networks", _always([])),
        Route("GET", "/networks/", _always([])),
        Route("POST", "/networks/create", _refused("creating networks")),
        Route("POST", "/networks/prune", _always({"NetworksDeleted": None})),
        Route("POST", "/networks/{name}/connect", missing),
        Route("POST", "/networks/{name}/disconnect", missing),
        Route("GET", "/networks/{name}", missing),
        Route("DELETE", "/networks/{name}", missing),
    )


def _volumes() -> tuple[Route, ...]:
    missing = _missing("get {name}: no such volume")
    return (
        Route("GET", "/volumes", _always({"Volumes": [], "Warnings": None})),
        Route("POST", "/volumes/create", _refused("creating volumes")),
        Route("POST", "/volumes/prune", _always({"VolumesDeleted": [], "SpaceReclaimed": 0})),
        Route("GET", "/volumes/{name}", missing),
        Route("PUT", "/volumes/{name}", missing),
        Route("DELETE", "/volumes/{name}", missing),
    )


def _plugins() -> tuple[Route, ...]:
    missing = _missing('plugin "{name}" not found')
    refused = _refused("plugins")
    return (
        Route("GET", "/plugins", _always([])),
        Route("GET", "/plugins/privileges", refused),
        Route("POST", "/plugins/pull", refused),
        Route("POST", "/plugins/create", refused),
        Route("GET", "/plugins/{name}/json", missing),
        *(Route("POST", f"/plugins/{{name}}/{verb}", missing) for verb in ("enable", "disable", "push", "set")),
        Route("POST", "/plugins/{name}/upgrade", missing),
        Route("DELETE", "/plugins/{name}", missing),
    )


def _swarm() -> tuple[Route, ...]:
    return tuple(
        Route(method, path, _no_swarm)
        for noun in _SWARM
        for path in (f"/{noun}", f"/{noun}/{{name}}")
        for method in ("GET", "POST", "DELETE")
    )


def _always(document: Any) -> Handler:
    async def handle(call: Call) -> Answer:
        return json(document)

    return handle


def _missing(message: str) -> Handler:
    return _raising(lambda call: NotFoundError(message.format(name=call.names["name"])))


def _refused(what: str, hint: str | None = None) -> Handler:
    return _raising(lambda call: UnsupportedError(f"{what}: not supported yet", hint=hint))


def _raising(error: Callable[[Call], Exception]) -> Handler:
    async def handle(call: Call) -> Answer:
        raise error(call)

    return handle


async def _no_swarm(call: Call) -> Answer:
    raise UnavailableError(_NO_SWARM)
