"""Why a container was not started, read from the runtime's log.

crun and runc tell the same things in different words. What is wrong with the program's own file (its format, its
interpreter) shows only after they let go: they say so on its standard error and end with 1, which then is the
container's exit code as with Docker.
"""

from __future__ import annotations

import re

import msgspec

from boatyard.errors import BoatyardError, DeniedError, ExecutableError, InvalidError, StorageError

RUNTIME_FAILED = 1
"""The runtimes' own exit code. A container's may be the same: only with an error in the log it is theirs."""

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class _Line(msgspec.Struct):
    msg: str = ""
    level: str = ""


def last_error(log: bytes) -> str:
    """The last message that is an error, or "". runc's lines are JSON of all levels; crun's are text, and errors
    only.
    """
    for line in reversed(log.splitlines()):
        try:
            record = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError:
            text = line.decode(errors="replace").strip()
            if text:
                return re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z?:? ", "", text)
            continue
        if record.level in ("error", "fatal", "panic"):
            return record.msg
    return ""


def explain(message: str, program: str) -> BoatyardError:
    """The error to raise for a runtime's message; `program` is what was to be run."""
    text = re.sub(r"^(runc \w+ failed: |unable to start container process: |container_linux\.go:\d+: )+", "", message)
    low = text.lower()
    about_program = low.startswith(("exec", "open executable", "stat executable", "standard_init"))
    if "not found in $path" in low and "/" in program:
        return ExecutableError(f'exec: "{program}": no such file or directory', exit_code=NOT_FOUND)
    if "not found in $path" in low:
        return ExecutableError(f'exec: "{program}": executable file not found in $PATH', exit_code=NOT_FOUND)
    if about_program and "no such file" in low:
        if low.startswith(("exec container process", "exec /", "standard_init")):
            return ExecutableError(
                f'exec: "{program}": no such file or directory',
                exit_code=NOT_FOUND,
                hint="the file may be there, but not the interpreter in its first line or its dynamic loader",
            )
        return ExecutableError(f'exec: "{program}": no such file or directory', exit_code=NOT_FOUND)
    if about_program and "exec format error" in low:
        return ExecutableError(
            f'exec: "{program}": exec format error',
            exit_code=NOT_EXECUTABLE,
            hint="it is for another architecture (`boat doctor` says how to run those), or a script without #! line",
        )
    if about_program and any(word in low for word in ("permission denied", "is a directory", "not permitted")):
        return ExecutableError(f'exec: "{program}": permission denied', exit_code=NOT_EXECUTABLE)
    if about_program and "too many levels" in low:
        return ExecutableError(f'exec: "{program}": too many levels of symbolic links', exit_code=NOT_EXECUTABLE)
    if any(word in low for word in ("no space left", "input/output error", "quota exceeded")):
        return StorageError(f"the container can't be started: {text}")
    if any(word in low for word in ("operation not permitted", "permission denied")):
        return DeniedError(f"the container can't be started: {text}", hint="`boat doctor` tells what this host permits")
    return InvalidError(f"the container can't be started: {text}")
