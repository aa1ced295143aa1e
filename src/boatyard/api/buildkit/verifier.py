"""A client that judges its build's sources for itself, asked over its session.

Specification: moby/buildkit `sourcepolicy/policysession/policysession.proto`.
"""

from __future__ import annotations

from boatyard._pb import gateway_pb2
from boatyard._pb.policysession_grpc import PolicyVerifierStub
from boatyard._pb.policysession_pb2 import CheckPolicyRequest, CheckPolicyResponse
from boatyard.api.buildkit import values
from boatyard.api.buildkit.gateway.service import question_of, source_meta_message
from boatyard.build.policy.rule import Action
from boatyard.build.policy.verdict import Verdict
from boatyard.build.source.meta import MetaQuestion, SourceMeta
from boatyard.errors import InvalidError
from boatyard.image.platform import Platform
from boatyard.session.failure import told
from boatyard.session.registry import Sessions


class SessionVerifier:
    """Implements `build.policy.verdict.Verifier`. One per build."""

    def __init__(self, sessions: Sessions, session_id: str) -> None:
        self._sessions = sessions
        self._id = session_id

    async def check(self, known: SourceMeta, platform: Platform | None) -> Verdict | MetaQuestion:
        session = await self._sessions.get(self._id)
        request = CheckPolicyRequest(
            Platform=values.platform_message(platform) if platform else None, Source=source_meta_message(known)
        )
        async with session.needed():
            with told(f"the client can't judge the source {known.source.identifier}"):
                answer: CheckPolicyResponse = await PolicyVerifierStub(session.channel).CheckPolicy(request)
        return _verdict(answer, platform)


def _verdict(answer: CheckPolicyResponse, platform: Platform | None) -> Verdict | MetaQuestion:
    match answer.WhichOneof("result"):
        case "decision":
            decision = answer.decision
            try:
                action = Action(decision.action)
            except ValueError as error:
                raise InvalidError(f"the client's policy decides {decision.action}, which is no action") from error
            return Verdict(
                action,
                tuple(message.message for message in decision.denyMessages),
                values.source(decision.update) if decision.HasField("update") else None,
            )
        case "request":
            asked: gateway_pb2.ResolveSourceMetaRequest = answer.request
            return question_of(asked, platform)
        case _:
            raise InvalidError("the client's policy neither decides nor asks")
