"""The default system call filter."""

from __future__ import annotations

import struct

import pytest

from boatyard.runtime import capabilities, seccomp
from boatyard.runtime.seccomp import Rule, Section, section


def allowed_wholly(rules: Section) -> set[str]:
    return {name for rule in rules.syscalls if rule.action == seccomp.ALLOW and not rule.args for name in rule.names}


def about(rules: Section, name: str) -> list[Rule]:
    return [rule for rule in rules.syscalls if name in rule.names]


def test_everything_not_named_is_refused_with_eperm() -> None:
    rules = section(capabilities.DEFAULT, "x86_64")
    assert (rules.default_action, rules.default_errno_ret) == ("SCMP_ACT_ERRNO", 1)


@pytest.mark.parametrize("name", ["read", "execve", "openat2", "futex_waitv", "chroot", "ptrace", "io_destroy"])
def test_ordinary_calls_are_allowed(name: str) -> None:
    assert name in allowed_wholly(section(capabilities.DEFAULT, "x86_64"))


@pytest.mark.parametrize(
    "name",
    ["mount", "unshare", "bpf", "kexec_load", "init_module", "keyctl", "add_key", "userfaultfd", "io_uring_setup"],
)
def test_dangerous_calls_are_not(name: str) -> None:
    assert about(section(capabilities.DEFAULT, "x86_64"), name) == []


def test_a_capability_allows_its_calls() -> None:
    rules = section((*capabilities.DEFAULT, "CAP_SYS_ADMIN"), "x86_64")
    assert {"mount", "unshare", "clone", "clone3"} <= allowed_wholly(rules)
    assert all(not rule.args and rule.errno_ret is None for rule in about(rules, "clone"))


@pytest.mark.parametrize(("machine", "index"), [("x86_64", 0), ("aarch64", 0), ("s390x", 1)])
def test_clone_may_not_make_namespaces(machine: str, index: int) -> None:
    (rule,) = about(section(capabilities.DEFAULT, machine), "clone")
    assert [(arg.index, arg.value, arg.value_two, arg.op) for arg in rule.args] == [
        (index, 0x7E020000, 0, "SCMP_CMP_MASKED_EQ")
    ]


def test_clone3_is_as_if_the_kernel_had_none() -> None:
    (rule,) = about(section(capabilities.DEFAULT, "x86_64"), "clone3")
    assert (rule.action, rule.errno_ret) == ("SCMP_ACT_ERRNO", 38)


def test_architectures_are_the_machines_and_its_kin() -> None:
    assert section((), "x86_64").architectures == ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
    assert "arch_prctl" in allowed_wholly(section((), "x86_64"))
    assert "arch_prctl" not in allowed_wholly(section((), "aarch64"))
    assert section((), "unheard-of").architectures == ()


def test_the_compiled_filter_is_whole_instructions_that_end_in_a_return() -> None:
    program = seccomp.compile_filter(section(capabilities.DEFAULT))
    if program is None:
        pytest.skip("needs libseccomp")
    assert len(program) % 8 == 0
    assert 100 < len(program) // 8 <= 4096, "the kernel takes 4096 instructions at most"
    returns = {value for code, _, _, value in struct.iter_unpack("=HBBI", program) if code == 0x06}
    assert {0x7FFF0000, 0x00050001, 0x00050026} <= returns
