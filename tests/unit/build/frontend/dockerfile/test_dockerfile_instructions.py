"""Every instruction: its forms, its flags, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from boatyard.build.frontend.dockerfile.ast import Range
from boatyard.build.frontend.dockerfile.instructions import (
    Add,
    Arg,
    Argument,
    Cmd,
    CommandLine,
    Copy,
    DeviceFlag,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    KeyValue,
    Label,
    Maintainer,
    MountFlag,
    Network,
    Onbuild,
    Run,
    Security,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from boatyard.build.frontend.dockerfile.parser import parse, parse_trigger
from boatyard.errors import DockerfileError


def file_of(text: str) -> Dockerfile:
    return parse(text.encode(), "Dockerfile")


def instruction_of(text: str, escape: str = "\\") -> Instruction:
    (stage,) = file_of(f"# escape={escape}\nFROM a\n{text}").stages
    (instruction,) = stage.instructions
    return instruction


def fields_of(instruction: Instruction, names: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(instruction, name) for name in names}


COPY: dict[str, Any] = {"sources": ("a",), "destination": "b"}
SECOND = 1_000_000_000

FORMS: list[tuple[str, type[Instruction], dict[str, Any]]] = [
    ("ADD a b", Add, {**COPY, "keep_git_dir": None, "unpack": None, "checksum": "", "link": False}),
    ("ADD --keep-git-dir --unpack=false a b", Add, {"keep_git_dir": True, "unpack": False}),
    ("ADD --keep-git-dir=FALSE --checksum=sha256:0 a b", Add, {"keep_git_dir": False, "checksum": "sha256:0"}),
    ("COPY a b", Copy, {**COPY, "from_": "", "parents": False, "chown": "", "chmod": "", "exclude": ()}),
    ("COPY a   b\tc d", Copy, {"sources": ("a", "b", "c"), "destination": "d"}),
    ('COPY ["a b", "c", "d e"]', Copy, {"sources": ("a b", "c"), "destination": "d e"}),
    ("COPY --from=0 --parents --link a b", Copy, {"from_": "0", "parents": True, "link": True}),
    ("COPY --chown=a:b --chmod=u+x,go= a b", Copy, {"chown": "a:b", "chmod": "u+x,go="}),
    ("COPY --exclude=*.md --exclude=**/x a b", Copy, {"exclude": ("*.md", "**/x"), "flags": ("exclude",)}),
    ('COPY --chown="a b" a b', Copy, {"chown": "a b"}),
    ("WORKDIR  a b ", Workdir, {"path": "a b"}),
    ("VOLUME a  b", Volume, {"paths": ("a", "b")}),
    ('VOLUME ["a b", " c "]', Volume, {"paths": ("a b", "c")}),
    ("RUN a  b", Run, {"command": CommandLine(("a  b",), True), "network": Network.DEFAULT, "mounts": ()}),
    ('RUN ["a", "b c"]', Run, {"command": CommandLine(("a", "b c"), False), "security": Security.SANDBOX}),
    ('RUN ["a", \\\n "b"]', Run, {"command": CommandLine(("a", "b"), False)}),
    ("RUN ['a']", Run, {"command": CommandLine(("['a']",), True)}),
    ('RUN ["a"', Run, {"command": CommandLine(('["a"',), True)}),
    ('RUN ["a"] b', Run, {"command": CommandLine(('["a"] b',), True)}),
    ("RUN []", Run, {"command": CommandLine((), False)}),
    ("RUN", Run, {"command": CommandLine((), True)}),
    ('RUN ["\\ud800\\u00e9"]', Run, {"command": CommandLine(("\ufffd\u00e9",), False)}),
    ("RUN --network=host --security=insecure a", Run, {"network": Network.HOST, "security": Security.INSECURE}),
    ("RUN --device=v.com/a=0 a", Run, {"devices": (DeviceFlag("v.com/a=0"),)}),
    ("RUN --device=v.com/a,required a", Run, {"devices": (DeviceFlag("v.com/a", True),)}),
    ("RUN --device=name=v.com/a=x,required=false a", Run, {"devices": (DeviceFlag("v.com/a=x"),)}),
    (
        "RUN --mount=type=cache,target=/x --mount=from=b,source=/y a",
        Run,
        {"mounts": (MountFlag("type=cache,target=/x"), MountFlag("from=b,source=/y", "b")), "flags": ("mount",)},
    ),
    ("CMD a b", Cmd, {"command": CommandLine(("a b",), True)}),
    ("CMD", Cmd, {"command": CommandLine((), True)}),
    ('ENTRYPOINT ["a"]', Entrypoint, {"command": CommandLine(("a",), False)}),
    ('SHELL ["a", "-c"]', Shell, {"words": ("a", "-c")}),
    ("HEALTHCHECK NONE", Healthcheck, {"test": ("NONE",)}),
    ("HEALTHCHECK none", Healthcheck, {"test": ("NONE",)}),
    ("HEALTHCHECK CMD a  b", Healthcheck, {"test": ("CMD-SHELL", "a  b"), "interval": 0, "retries": 0}),
    ('HEALTHCHECK cmd ["a", "b"]', Healthcheck, {"test": ("CMD", "a", "b")}),
    (
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0 --start-interval=1ms --retries=4 CMD a",
        Healthcheck,
        {
            "interval": 90 * SECOND,
            "timeout": 1_500_000_000,
            "start_period": 0,
            "start_interval": 1_000_000,
            "retries": 4,
        },
    ),
    ("STOPSIGNAL SIGKILL", Stopsignal, {"signal": "SIGKILL"}),
    ("USER a:b", User, {"user": "a:b"}),
    ("ARG a", Arg, {"arguments": (Argument("a"),)}),
    (
        "ARG a= b='c d' e=\"f\" g",
        Arg,
        {"arguments": (Argument("a", ""), Argument("b", "'c d'"), Argument("e", '"f"'), Argument("g"))},
    ),
    ("ENV a b  c", Env, {"pairs": (KeyValue("a", "b  c", legacy=True),)}),
    ("ENV a=b", Env, {"pairs": (KeyValue("a", "b"),)}),
    (
        "ENV a=b\\ c d='e f' \"g h\"=i j=",
        Env,
        {"pairs": (KeyValue("a", "b\\ c"), KeyValue("d", "'e f'"), KeyValue('"g h"', "i"), KeyValue("j", ""))},
    ),
    ("ENV a=b=c", Env, {"pairs": (KeyValue("a", "b=c"),)}),
    ("ENV a='it''s' b=\\\"x", Env, {"pairs": (KeyValue("a", "'it''s'"), KeyValue("b", '\\"x'))}),
    ("ENV a='open b", Env, {"pairs": (KeyValue("a", "'open b"),)}),
    ("ENV a=b\\", Env, {"pairs": (KeyValue("a", "b"),)}),
    ("LABEL a b c", Label, {"pairs": (KeyValue("a", "b c", legacy=True),)}),
    ("LABEL a.b=c", Label, {"pairs": (KeyValue("a.b", "c"),)}),
    ("EXPOSE 80 443/tcp 22", Expose, {"ports": ("22", "443/tcp", "80")}),
    ("MAINTAINER a <b>", Maintainer, {"maintainer": "a <b>"}),
    ("ONBUILD  RUN  a", Onbuild, {"expression": "RUN  a"}),
    ("onbuild copy --from=b . /x", Onbuild, {"expression": "copy --from=b . /x"}),
]


@pytest.mark.parametrize(("text", "kind", "expected"), FORMS)
def test_forms(text: str, kind: type[Instruction], expected: dict[str, Any]) -> None:
    instruction = instruction_of(text)
    assert type(instruction) is kind
    assert fields_of(instruction, expected) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ADD a", "ADD takes at least a source and a destination, but has one argument"),
        ("COPY", "has neither"),
        ("COPY --from=x a", "has one argument"),
        ("COPY [1, 2]", "nothing but strings"),
        ("COPY --form=x a b", r"unknown flag --form of COPY \(did you mean from\?\)"),
        ("COPY --link=maybe a b", "either true or false, not 'maybe'"),
        ("COPY --link= a b", "either true or false"),
        ("COPY --from a b", "--from of COPY needs a value"),
        ("COPY --from=a --from=b c d", "the flag --from twice"),
        ("ADD --from=a b c", "unknown flag --from of ADD"),
        ("RUN --network=hots a", r"--network can't be 'hots' \(did you mean host\?\)"),
        ("RUN --security=none a", "--security can't be 'none'"),
        ("RUN --mount= a", "the value is empty"),
        ('RUN --mount=a\\"b x', "quote in the middle"),
        ("RUN --mount=from=$X,target=/y a", "variables are not expanded"),
        ("RUN --device=required a", "has no name"),
        ("RUN --device=a,name=b x", "two names"),
        ("RUN --device=a,require=1 x", r"unknown key 'require' .*did you mean required"),
        ("RUN --device=a,b x", "has no value"),
        ("CMD --x a", "unknown flag --x of CMD"),
        ("ARG", "ARG takes at least one argument"),
        ("ARG =x", "has no name"),
        ("ARG --x=1 b", "unknown flag --x of ARG"),
        ("ENV", "takes at least one argument"),
        ("ENV a", "ENV a has no value"),
        ("ENV a=b c", "'c' without a ="),
        ("ENV =b", "without a name"),
        ("LABEL a=b c", "without a ="),
        ("SHELL a -c", "SHELL takes a JSON array"),
        ("SHELL []", "takes at least one argument"),
        ("SHELL", "SHELL takes a JSON array"),
        ("HEALTHCHECK", "HEALTHCHECK has no arguments"),
        ("HEALTHCHECK a b", "can't be of the kind 'a'"),
        ("HEALTHCHECK NONE a", "takes no arguments"),
        ("HEALTHCHECK CMD", "has no command"),
        ("HEALTHCHECK CMD []", "has no command"),
        ("HEALTHCHECK --interval=5 CMD a", "invalid duration '5'"),
        ("HEALTHCHECK --interval=10us CMD a", "shorter than 1ms"),
        ("HEALTHCHECK --retries=-1 CMD a", "is no count"),
        ("HEALTHCHECK --retries=x CMD a", "is no count"),
        ("HEALTHCHECK --retires=1 CMD a", "did you mean retries"),
        ("WORKDIR", "WORKDIR takes one argument"),
        ("USER", "takes one argument"),
        ("STOPSIGNAL", "takes one argument"),
        ("MAINTAINER", "takes one argument"),
        ("MAINTAINER --name a", "unknown flag --name of MAINTAINER"),
        ("EXPOSE", "takes at least one argument"),
        ("VOLUME", "takes at least one argument"),
        ('VOLUME ["a", ""]', "is empty"),
        ("ONBUILD", "ONBUILD has no instruction"),
        ("ONBUILD FROM a", "FROM can't be an ONBUILD trigger"),
        ("ONBUILD ONBUILD RUN a", "ONBUILD can't be an ONBUILD trigger"),
        ("ONBUILD MAINTAINER a", "MAINTAINER can't be"),
        ("ONBUILD RNU a", r"unknown instruction in ONBUILD: RNU \(did you mean RUN\?\)"),
        ("ONBUILD COPY a", "COPY takes at least a source"),
        ("INCLUDE a", "unknown instruction: INCLUDE$"),
        ("RNU a", r"unknown instruction: RNU \(did you mean RUN\?\)"),
        ("copi a b", r"unknown instruction: copi \(did you mean copy\?\)"),
        ("FORM a", r"did you mean FROM\?"),
    ],
)
def test_refusals_say_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as caught:
        instruction_of("\n" + text)
    assert caught.value.source is not None
    assert caught.value.source.start == 4
    assert caught.value.hint


def test_a_message_stays_short_when_the_word_is_long() -> None:
    with pytest.raises(DockerfileError) as caught:
        instruction_of("RUN --" + "x" * 10_000 + " a")
    assert len(caught.value.message) <= 400


def test_the_text_and_range_are_those_of_the_logical_line() -> None:
    instruction = instruction_of("run a \\\n  b")
    assert (instruction.text, instruction.range, instruction.keyword, instruction.name) == (
        "run a   b",
        Range(3, 4),
        "run",
        "RUN",
    )


def test_the_escape_character_quotes_in_its_file() -> None:
    instruction = instruction_of("ENV a=b` c d=C:\\x", escape="`")
    assert isinstance(instruction, Env)
    assert instruction.pairs == (KeyValue("a", "b` c"), KeyValue("d", "C:\\x"))


# -- stages ----------------------------------------------------------------------------------------------------------


def test_instructions_belong_to_the_stage_above_them() -> None:
    parsed = file_of("ARG x=1\nARG y\nFROM a\nRUN b\nFROM --platform=$P c:$x as Two\nRUN d\nRUN e")
    assert [[each.key for each in argument.arguments] for argument in parsed.arguments] == [["x"], ["y"]]
    first, second = parsed.stages
    assert (first.index, first.base, first.stage_name, first.platform) == (0, "a", "", "")
    assert (second.base, second.stage_name, second.written_name, second.platform) == ("c:$x", "two", "Two", "$P")
    assert (second.as_keyword, second.text) == ("as", "FROM --platform=$P c:$x as Two")
    assert [each.text for each in second.instructions] == ["RUN d", "RUN e"]


def test_the_latest_stage_of_a_name_is_found_in_any_case() -> None:
    parsed = file_of("FROM a AS x\nFROM b AS y\nFROM c AS X\nFROM d")
    assert parsed.stage_index("X") == 2
    assert parsed.stage_index("x", before=2) == 0
    assert parsed.stage_index("z") is None
    assert parsed.stage_index("") is None


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM", "FROM takes an image", 1),
        ("FROM a b", "FROM takes an image", 1),
        ("FROM a AS", "FROM takes an image", 1),
        ("FROM a OF b", "FROM takes an image", 1),
        ("FROM a AS b c", "FROM takes an image", 1),
        ("FROM a AS 1b", "invalid stage name '1b'", 1),
        ("FROM a AS b/c", "invalid stage name", 1),
        ("FROM a AS b\u00e9", "invalid stage name", 1),
        ("FROM --plaform=x a", "did you mean platform", 1),
        ("ARG a\nRUN b\nFROM c", "RUN stands before the first FROM", 2),
        ("ARG a\n\n", "has no FROM", 1),
    ],
)
def test_malformed_stages_are_refused(text: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError, match=message) as caught:
        file_of(text)
    assert caught.value.source is not None
    assert caught.value.source.start == line
    assert caught.value.hint


def test_comments_describe_stages_and_arguments() -> None:
    parsed = file_of(
        "# DEBIAN which release to stand on\nARG DEBIAN=12\n\n# tools compiles\nFROM a AS Tools\n"
        "# once more\nARG DEBIAN\n"
        "# JOBS how many at a time\n# FLAGS for the compiler\nARG FLAGS JOBS=4\n"
    )
    assert parsed.arguments[0].arguments[0].comment == "which release to stand on"
    assert parsed.stages[0].comment == "compiles"
    again, both = parsed.stages[0].instructions
    assert isinstance(again, Arg)
    assert isinstance(both, Arg)
    assert again.arguments[0].comment == ""
    assert [each.comment for each in both.arguments] == ["for the compiler", "how many at a time"]


# -- triggers of base images -----------------------------------------------------------------------------------------


def test_a_trigger_takes_the_place_of_its_from() -> None:
    trigger = parse_trigger("RUN <<E\nx\nE", Range(7, 7))
    assert isinstance(trigger, Run)
    assert trigger.range == Range(7, 7)
    assert trigger.command.files[0].content == "x\n"


def test_what_onbuild_keeps_is_read_back() -> None:
    kept = instruction_of("ONBUILD COPY <<-A <<'B' x /y\n\t1\n\tA\n2\nB")
    assert isinstance(kept, Onbuild)
    direct = instruction_of("COPY <<-A <<'B' x /y\n\t1\n\tA\n2\nB")
    read = parse_trigger(kept.expression, direct.range)
    assert read == direct


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "has 0 instructions"),
        ("# comment", "has 0 instructions"),
        ("RUN a\nRUN b", "has 2 instructions"),
        ("FROM a", "FROM can't be"),
        ("ONBUILD RUN a", "ONBUILD can't be"),
        ("NOPE a", "unknown instruction: NOPE"),
        ("COPY a", "COPY takes"),
        ("RUN <<E", "is not ended"),
    ],
)
def test_malformed_triggers_are_refused(expression: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        parse_trigger(expression, Range(1, 1))
