"""A build's gate: graphs come out with other sources, in one spelling, and the client may judge for itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard._pb import ops_pb2 as pb
from boatyard.build.llb import codec
from boatyard.build.llb import graph as llb
from boatyard.build.llb.graph import Edge, Graph, SourceLocation, SourceOp, Vertex
from boatyard.build.policy.gate import MAX_QUESTIONS, Policies, SourceGate
from boatyard.build.policy.identifier import normalised
from boatyard.build.policy.rewrite import source_vertices, with_sources
from boatyard.build.policy.rule import Action, Policy, Rule, Selector, Update
from boatyard.build.policy.verdict import Verdict
from boatyard.build.source.meta import ImageMeta, MetaQuestion, SourceMeta
from boatyard.errors import InvalidError, SolveError, SourceDeniedError
from boatyard.image.digest import Digest
from boatyard.image.platform import Platform
from boatyard.progress import Event, VertexEvent

AMD64 = Platform(os="linux", architecture="amd64")
PIN = "sha256:" + "a" * 64
DEBIAN = "docker-image://docker.io/library/debian:bookworm"


def source(identifier: str = DEBIAN, **known: object) -> Vertex:
    return codec.vertex(SourceOp(identifier), (), AMD64, **known)  # type: ignore[arg-type]


def run(*inputs: Vertex, command: str = "true") -> Vertex:
    mounts = tuple(llb.Mount(f"/{index or ''}", index, output=index) for index in range(len(inputs)))
    return codec.vertex(llb.ExecOp(llb.Meta((command,)), mounts), [Edge(each) for each in inputs], AMD64)


def policy(*rules: tuple[Action, str, str]) -> Policy:
    return Policy(
        tuple(Rule(action, Selector(identifier), Update(into) if into else None) for action, identifier, into in rules),
        "p.json",
    )


class Judge:
    """A client that judges for itself; answers in order."""

    def __init__(self, *answers: Verdict | MetaQuestion) -> None:
        self.answers = list(answers)
        self.seen: list[SourceMeta] = []

    async def check(self, known: SourceMeta, platform: Platform | None) -> Verdict | MetaQuestion:
        self.seen.append(known)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Gate:
    def __init__(self, *request: Policy, daemon: Sequence[Policy] = (), judge: Judge | None = None) -> None:
        self.events: list[Event] = []
        self.asked: list[MetaQuestion] = []
        self.gate = SourceGate(
            Policies(request, daemon, judge), self.events.append, clock=lambda: 1.0, describe=self._describe
        )

    async def _describe(self, question: MetaQuestion) -> SourceMeta:
        self.asked.append(question)
        return SourceMeta(question.source, image=ImageMeta(Digest(PIN)))

    async def __call__(self, identifier: str, *extra: Policy, attrs: dict[str, str] | None = None) -> str:
        return (await self.gate.pass_source(SourceOp(identifier, attrs or {}), AMD64, extra)).identifier

    @property
    def told(self) -> list[str]:
        return [event.name for event in self.events if isinstance(event, VertexEvent)]


# -- spelling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (SourceOp("docker-image://debian"), "docker-image://docker.io/library/debian:latest"),
        (SourceOp("docker-image://index.docker.io/debian:x"), "docker-image://docker.io/library/debian:x"),
        (SourceOp(f"docker-image://r.io/a@{PIN}"), f"docker-image://r.io/a@{PIN}"),
        (SourceOp("docker-image://UPPER"), "docker-image://UPPER"),
        (SourceOp("git://github.com/a/b.git#main:../x"), "git://github.com/a/b.git#main:../x"),
        (SourceOp("git://github.com/a/./b.git#main:sub/dir"), "git://github.com/a/b.git#main:sub/dir"),
        (SourceOp("git://good/x", {"git.fullurl": "https://user:pw@evil:8/y.git"}), "git://evil:8/y.git"),
        (SourceOp("git://h/x#v1", {"git.fullurl": "git@h:team/x.git"}), "git://h/team/x.git#v1"),
        (SourceOp("https://h/x?y#z"), "https://h/x?y#z"),
        (SourceOp("local://context"), "local://context"),
    ],
)
def test_a_source_is_seen_in_one_spelling(given: SourceOp, seen: str) -> None:
    assert normalised(given).identifier == seen


async def test_another_spelling_does_not_get_around_a_rule() -> None:
    gate = Gate(policy((Action.DENY, "docker-image://docker.io/library/debian:latest", "")))
    with pytest.raises(SourceDeniedError):
        await gate("docker-image://debian")


async def test_what_no_rule_changes_keeps_its_spelling() -> None:
    gate = Gate(policy((Action.DENY, "https://*", "")))
    assert await gate("docker-image://debian") == "docker-image://debian"


async def test_an_image_that_is_pinned_keeps_its_tag() -> None:
    pinned = f"docker-image://docker.io/library/debian@{PIN}"
    assert await Gate(policy((Action.CONVERT, DEBIAN, pinned)))(DEBIAN) == f"{DEBIAN}@{PIN}"
    other = f"docker-image://docker.io/library/busybox@{PIN}"
    assert await Gate(policy((Action.CONVERT, DEBIAN, other)))(DEBIAN) == other


# -- who is asked ----------------------------------------------------------------------------------------------------


async def test_the_request_may_lead_away_from_what_the_daemon_denies_but_not_into_it() -> None:
    daemon = policy((Action.DENY, "docker-image://docker.io/*", ""))
    mirror = policy((Action.CONVERT, "docker-image://docker.io/*", "docker-image://mirror.test/${1}"))
    gate = Gate(mirror, daemon=[daemon])
    assert await gate(DEBIAN) == "docker-image://mirror.test/library/debian:bookworm"
    back = policy((Action.CONVERT, "docker-image://mirror.test/*", "docker-image://docker.io/${1}"))
    with pytest.raises(SourceDeniedError, match=r"docker.io"):
        await Gate(back, daemon=[daemon])("docker-image://mirror.test/library/debian")


async def test_a_frontends_policies_hold_for_its_call_alone() -> None:
    gate = Gate()
    with pytest.raises(SourceDeniedError):
        await gate(DEBIAN, policy((Action.DENY, "*", "")))
    assert await gate(DEBIAN) == DEBIAN


async def test_a_conversion_is_told_once() -> None:
    gate = Gate(policy((Action.CONVERT, DEBIAN, "docker-image://docker.io/library/debian:trixie")))
    for _ in range(2):
        await gate(DEBIAN)
        await gate.gate.pass_edge(Edge(source()))
    assert gate.told == [
        f"[internal] source policy: {DEBIAN} becomes docker-image://docker.io/library/debian:trixie by rule 1 of p.json"
    ]


# -- graphs ----------------------------------------------------------------------------------------------------------


async def test_without_policies_a_graph_stays_the_same_object() -> None:
    edge = Edge(run(source()))
    assert await Gate().gate.pass_edge(edge) is edge


async def test_a_changed_source_changes_what_stands_on_it_and_nothing_else() -> None:
    context = source("local://context")
    aside = run(context, command="aside")
    top = run(run(source()), aside, command="top")
    gate = Gate(policy((Action.CONVERT, DEBIAN, f"{DEBIAN}@{PIN}")))
    passed = await gate.gate.pass_edge(Edge(top, 1))
    assert passed.index == 1
    assert passed.vertex.inputs[1].vertex is aside
    assert passed.vertex.digest != top.digest
    assert {vertex.op.identifier for vertex in source_vertices(passed.vertex).values()} == {  # type: ignore[union-attr]
        f"{DEBIAN}@{PIN}",
        "local://context",
    }
    # It is what its encoding says, and its platform and name stay.
    assert codec.decode(codec.encode(Graph(passed))).root == passed
    assert passed.vertex == run(run(source(f"{DEBIAN}@{PIN}")), aside, command="top")


async def test_a_denied_source_names_its_vertex_with_its_place() -> None:
    place = SourceLocation("Dockerfile", 3, 3)
    vertex = source("https://example.com/x", locations=(place,))
    with pytest.raises(SolveError, match=r"denied by policy: https://.* by rule 1 of p.json") as caught:
        await Gate(policy((Action.DENY, "https://*", ""))).gate.pass_edge(Edge(run(source(), vertex)))
    assert caught.value.vertex == vertex.digest
    assert isinstance(caught.value.__cause__, SourceDeniedError)


def test_a_graph_as_deep_as_any_is_rewritten() -> None:
    top = source()
    for number in range(3000):
        top = run(top, command=str(number))
    changed = with_sources(Edge(top), {source().digest: SourceOp("local://x")})
    assert [vertex.op for vertex in source_vertices(changed.vertex).values()] == [SourceOp("local://x")]


def test_what_is_not_known_here_of_an_encoding_stays_in_it() -> None:
    message = pb.Op.FromString(run(source()).encoding)
    unknown = b"\xda\x07\x03abc"  # field 123
    encoding = message.SerializeToString(deterministic=True) + unknown
    vertex = codec.decode(_definition([source().encoding, encoding])).root
    assert vertex is not None
    changed = with_sources(vertex, {source().digest: SourceOp("local://x")})
    assert unknown in changed.vertex.encoding


def _definition(encodings: list[bytes]) -> bytes:
    import hashlib

    definition = pb.Definition()
    root = pb.Op(inputs=[pb.Input(digest="sha256:" + hashlib.sha256(encodings[-1]).hexdigest())])
    getattr(definition, "def").extend([*encodings, root.SerializeToString()])
    return definition.SerializeToString()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=3), min_size=1, max_size=8), st.data())
def test_rewriting_is_building_the_graph_from_other_sources(shape: list[list[int]], data: st.DataObject) -> None:
    names = ["a", "b", "c"]
    chosen = data.draw(st.sets(st.sampled_from(names)))

    def build(changed: bool) -> Vertex:
        made = [source(f"local://{name}{'x' if changed and name in chosen else ''}") for name in names]
        for number, inputs in enumerate(shape):
            made.append(run(*(made[index % len(made)] for index in inputs), command=str(number)))
        return made[-1]

    replaced = {source(f"local://{name}").digest: SourceOp(f"local://{name}x") for name in chosen}
    assert with_sources(Edge(build(False)), replaced) == Edge(build(True))


# -- a client that judges for itself ---------------------------------------------------------------------------------


async def test_the_client_is_asked_after_the_rules() -> None:
    judge = Judge(Verdict(Action.ALLOW))
    gate = Gate(policy((Action.CONVERT, DEBIAN, f"{DEBIAN}@{PIN}")), judge=judge)
    assert await gate(DEBIAN) == f"{DEBIAN}@{PIN}"
    assert [known.source.identifier for known in judge.seen] == [f"{DEBIAN}@{PIN}"]


async def test_the_clients_reasons_for_denying_are_told() -> None:
    judge = Judge(Verdict(Action.DENY, ("no signature", "too old")))
    with pytest.raises(
        SourceDeniedError, match="not allowed by policy: the client's own, no signature; too old"
    ) as caught:
        await Gate(judge=judge)(DEBIAN)
    assert caught.value.messages == ("no signature", "too old")


async def test_the_client_may_ask_for_more_before_it_judges() -> None:
    judge = Judge(MetaQuestion(SourceOp(DEBIAN)), Verdict(Action.ALLOW))
    gate = Gate(judge=judge)
    await gate(DEBIAN)
    assert judge.seen[1].image == ImageMeta(Digest(PIN))
    assert len(gate.asked) == 1


async def test_the_client_may_ask_only_about_the_source_it_judges() -> None:
    judge = Judge(MetaQuestion(SourceOp("docker-image://docker.io/library/other:latest")))
    with pytest.raises(InvalidError, match=r"asks about .*other"):
        await Gate(judge=judge)(DEBIAN)


async def test_what_the_client_converts_into_is_judged_by_the_rules_and_the_client() -> None:
    update = SourceOp("docker-image://docker.io/library/busybox:latest")
    judge = Judge(Verdict(Action.CONVERT, update=update), Verdict(Action.ALLOW))
    assert await Gate(judge=judge)(DEBIAN) == update.identifier
    assert [known.source.identifier for known in judge.seen] == [DEBIAN, update.identifier]
    denying = policy((Action.DENY, "*busybox*", ""))
    with pytest.raises(SourceDeniedError, match=r"rule 1 of p.json"):
        await Gate(denying, judge=Judge(Verdict(Action.CONVERT, update=update)))(DEBIAN)


@pytest.mark.parametrize("answer", [MetaQuestion(SourceOp(DEBIAN)), Verdict(Action.CONVERT, update=SourceOp(DEBIAN))])
async def test_a_client_that_never_decides_is_not_asked_for_ever(answer: Verdict | MetaQuestion) -> None:
    judge = Judge(answer)
    with pytest.raises(InvalidError, match="too many policy requests"):
        await Gate(judge=judge)(DEBIAN)
    assert len(judge.seen) == MAX_QUESTIONS
