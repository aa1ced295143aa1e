from __future__ import annotations

import pytest

from boatyard.errors import ConflictError
from boatyard.image.layer.chain import Chain, LayerId
from boatyard.image.layer.holds import Holds

A, B, C = (LayerId(name) for name in "abc")


def can_leave(holds: Holds, layer: LayerId) -> bool:
    try:
        with holds.leaving(layer):
            return True
    except ConflictError:
        return False


@pytest.fixture
def holds() -> Holds:
    return Holds()


def test_what_nobody_holds_may_leave(holds: Holds) -> None:
    assert can_leave(holds, A)


def test_every_layer_of_a_held_chain_stays(holds: Holds) -> None:
    holds.hold((A, B))
    assert [can_leave(holds, layer) for layer in (A, B, C)] == [False, False, True]


def test_a_layer_stays_until_the_last_that_holds_it_lets_go(holds: Holds) -> None:
    chains: tuple[Chain, ...] = ((A, B), (A, B), (B, C))
    for chain in chains:
        holds.hold(chain)
    holds.let_go((A, B))
    assert not can_leave(holds, A)
    holds.let_go((A, B))
    assert can_leave(holds, A) and not can_leave(holds, B)
    holds.let_go((B, C))
    assert can_leave(holds, B) and can_leave(holds, C)


def test_a_layer_that_is_leaving_is_known_as_such_until_it_has_left(holds: Holds) -> None:
    with holds.leaving(A):
        holds.hold((A,))
        assert holds.is_leaving(A)
    assert not holds.is_leaving(A)
