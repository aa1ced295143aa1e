"""Building for one platform, for another, for several."""

from __future__ import annotations

import pytest

from boatyard.errors import DockerfileError, InvalidError, UnsupportedError
from boatyard.image.platform import Platform
from unit.build.frontend.dockerfile.converting import AMD64, ARM64, Converted, converted, run_build, yard

CROSS = """
    FROM --platform=$BUILDPLATFORM golang AS build
    ARG TARGETARCH
    RUN build $TARGETARCH
    FROM busybox
    COPY --from=build /out /out
    RUN run
    """


def test_without_a_platform_the_builders_own_is_built_for() -> None:
    result = converted("FROM busybox\nRUN x\n")
    assert result.result.images[0].platform == AMD64
    assert result.last.platform == AMD64
    assert not result.result.multi_platform
    assert (result.config.os, result.config.architecture) == ("linux", "amd64")


def test_a_platform_is_asked_for() -> None:
    result = converted("FROM busybox\nRUN x\n", platform="linux/arm64/v8")
    assert result.bridge.asked[0][1] == ARM64
    assert result.last.platform == ARM64
    assert result.config.architecture == "arm64"
    assert result.last.name == "[2/2] RUN x"


def test_a_variant_is_in_the_config() -> None:
    config = converted("FROM scratch\n", platform="linux/arm/v6").config
    assert (config.architecture, config.variant) == ("arm", "v6")


def test_several_platforms_give_several_results_in_order() -> None:
    bridge = yard(CROSS)
    result = run_build(bridge, platform="linux/arm64,linux/amd64")
    assert result.multi_platform
    assert [image.platform for image in result.images] == [ARM64, AMD64]
    arm, amd = Converted(bridge, result, 0), Converted(bridge, result, 1)
    assert arm.last.name == "[linux/arm64 stage-1 3/3] RUN run"
    assert amd.last.name == "[linux/amd64 stage-1 3/3] RUN run"
    assert arm.named("RUN build").name == "[linux/amd64->arm64 build 2/2] RUN build arm64"
    assert amd.named("RUN build").name == "[linux/amd64 build 2/2] RUN build amd64"


def test_a_stage_of_the_build_platform_runs_there() -> None:
    result = converted(CROSS, platform="linux/arm64")
    assert result.named("RUN build").platform == AMD64
    assert result.last.platform == ARM64


def test_a_fixed_platform_of_a_stage() -> None:
    result = converted("FROM --platform=linux/riscv64 busybox\nRUN x\n")
    assert result.last.platform == Platform(os="linux", architecture="riscv64")
    assert result.config.architecture == "riscv64"
    assert result.result.images[0].platform.architecture == "riscv64"


def test_multi_platform_can_be_asked_for_with_one() -> None:
    result = converted("FROM busybox\nRUN x\n", platform="linux/arm64", **{"multi-platform": "true"})
    assert result.result.multi_platform
    assert result.last.name == "[linux/arm64 2/2] RUN x"


def test_several_platforms_with_multi_platform_denied() -> None:
    with pytest.raises(InvalidError, match="several platforms"):
        converted("FROM busybox\n", platform="linux/arm64,linux/amd64", **{"multi-platform": "false"})


def test_windows_is_not_supported() -> None:
    with pytest.raises(UnsupportedError, match="windows"):
        converted("FROM busybox\n", platform="windows/amd64")
    with pytest.raises(UnsupportedError, match=r"windows.*\(Dockerfile:1\)"):
        converted("FROM --platform=windows/amd64 busybox\n")


def test_a_platform_that_is_none() -> None:
    with pytest.raises(InvalidError, match="invalid platform"):
        converted("FROM busybox\n", platform="a/b/c/d")
    with pytest.raises(DockerfileError, match="invalid platform"):
        converted("FROM --platform=a/b/c/d busybox\n")


def test_the_digest_of_a_result_does_not_depend_on_the_builder() -> None:
    native = converted("FROM busybox\nRUN x\n", platform="linux/arm64").last
    bridge = yard("FROM busybox\nRUN x\n", platform=ARM64)
    assert Converted(bridge, run_build(bridge)).last.digest == native.digest
