"""The system call filter of containers: Docker's default profile, as an OCI section and as a compiled filter.

The lists of names are in `seccomp_default.json`; rules that look at arguments are here. Compiling costs crun 9 ms a
container (three architectures, some 360 calls each), so it is done once, with the library that crun itself uses, and
handed over as bytes.

Specification: OCI runtime-spec, config-linux.md, "Seccomp". The profile: moby/profiles, seccomp.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
from collections.abc import Sequence
from importlib import resources

import msgspec

log = logging.getLogger(__name__)

EPERM = 1
ENOSYS = 38

# CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: any of them set means that clone() makes a namespace.
NAMESPACE_FLAGS = 0x7E020000
# Linux, Linux with a 32-bit address space limit, UNAME26, both, and "tell me" (-1).
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
AF_ALG = 38
AF_VSOCK = 40

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"

_COMPARISONS = {
    name: number
    for number, name in enumerate(
        (
            "SCMP_CMP_NE",
            "SCMP_CMP_LT",
            "SCMP_CMP_LE",
            "SCMP_CMP_EQ",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_MASKED_EQ",
        ),
        start=1,
    )
}


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    architectures: tuple[str, ...]
    allowed: tuple[str, ...]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`machines` is keyed as uname(2) names them."""

    machines: dict[str, Machine]
    allowed: tuple[str, ...]
    allowed_with_capability: dict[str, tuple[str, ...]]


class Argument(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    index: int
    value: int
    op: str
    value_two: int = 0


class Rule(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    names: tuple[str, ...]
    action: str
    args: tuple[Argument, ...] = ()
    errno_ret: int | None = None


class Section(msgspec.Struct, frozen=True, rename="camel"):
    """`linux.seccomp` of an OCI configuration."""

    default_action: str
    default_errno_ret: int
    architectures: tuple[str, ...]
    syscalls: tuple[Rule, ...]


@functools.cache
def profile() -> Profile:
    data = resources.files("boatyard.runtime").joinpath("seccomp_default.json").read_bytes()
    return msgspec.json.decode(data, type=Profile)


def section(capabilities: Sequence[str], machine: str = platform.machine()) -> Section:
    """The filter of a container that has these capabilities on this machine. Empty `architectures` means the native
    one only.
    """
    data = profile()
    held = set(capabilities)
    native = data.machines.get(machine, Machine((), ()))
    names = {*data.allowed, *native.allowed}
    for capability, extra in data.allowed_with_capability.items():
        if capability in held:
            names.update(extra)
    # A call that is allowed as a whole needs no rule on its arguments; libseccomp would merge the two into the wider
    # one.
    rules = [Rule(tuple(sorted(names)), ALLOW)]
    rules += [
        Rule(("socket",), ALLOW, (Argument(0, AF_ALG, "SCMP_CMP_LT"),)),
        Rule(("socket",), ALLOW, (Argument(0, AF_ALG + 1, "SCMP_CMP_EQ"),)),
        Rule(("socket",), ALLOW, (Argument(0, AF_VSOCK, "SCMP_CMP_GT"),)),
    ]
    rules += [Rule(("personality",), ALLOW, (Argument(0, value, "SCMP_CMP_EQ"),)) for value in PERSONALITIES]
    if "CAP_SYS_ADMIN" not in held:
        # s390 has clone()'s first two arguments swapped.
        flags = 1 if machine.startswith("s390") else 0
        rules.append(Rule(("clone",), ALLOW, (Argument(flags, NAMESPACE_FLAGS, "SCMP_CMP_MASKED_EQ"),)))
        # Its flags are behind a pointer, out of a filter's sight. "No such call" makes C libraries fall back to
        # clone().
        rules.append(Rule(("clone3",), ERRNO, (), ENOSYS))
    return Section(ERRNO, EPERM, native.architectures, tuple(rules))


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_init.argtypes = [ctypes.c_uint32]
        library.seccomp_release.argtypes = [ctypes.c_void_p]
        library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
        library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
        library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
        library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
        library.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_void_p,
        ]
        library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    except (OSError, AttributeError) as error:
        log.debug("libseccomp can't be used: %s", error)
        return None
    return library


def compile_filter(rules: Section) -> bytes | None:
    """The section as the kernel's BPF instructions, or None where libseccomp is missing or too old: the runtime then
    compiles by itself.

    Calls that this libseccomp doesn't know are left out, as the runtimes do: they then get the default action.
    """
    library = _library()
    if library is None:
        return None
    context = library.seccomp_init(_action(rules.default_action, rules.default_errno_ret))
    if not context:
        return None
    try:
        for architecture in rules.architectures:
            token = library.seccomp_arch_resolve_name(architecture.removeprefix("SCMP_ARCH_").lower().encode())
            # Answers "exists" for the native one, which is in already.
            library.seccomp_arch_add(context, token)
        # A search tree rather than a list: most calls are found in 9 comparisons. Not in libseccomp before 2.5.
        library.seccomp_attr_set(context, 8, 2)
        for rule in rules.syscalls:
            comparisons = (_Comparison * len(rule.args))(
                *(_Comparison(arg.index, _COMPARISONS[arg.op], arg.value, arg.value_two) for arg in rule.args)
            )
            action = _action(rule.action, EPERM if rule.errno_ret is None else rule.errno_ret)
            for name in rule.names:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number == -1:
                    continue
                result = library.seccomp_rule_add_array(context, action, number, len(rule.args), comparisons)
                if result != 0:
                    log.debug("libseccomp refuses a rule for %s: error %d", name, -result)
                    return None
        descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            if library.seccomp_export_bpf(context, descriptor) != 0:
                return None
            return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)
    finally:
        library.seccomp_release(context)


def _action(name: str, number: int) -> int:
    return 0x7FFF0000 if name == ALLOW else 0x00050000 | number
