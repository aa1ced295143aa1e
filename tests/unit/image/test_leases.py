from __future__ import annotations

import pytest

from boatyard.errors import ConflictError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image.database import Database
from boatyard.image.layer.chain import LayerId
from boatyard.image.lease import Leases

BLOB = digests.of_bytes(b"blob")
LAYER = LayerId("layer")


@pytest.fixture
def leases() -> Leases:
    return Leases(Database(":memory:"), clock=lambda: 100.0)


def test_a_lease_holds_what_was_added_until_it_is_released(leases: Leases) -> None:
    lease = leases.create("build")
    lease.add_blob(BLOB)
    lease.add_blob(BLOB)
    lease.add_layer(LAYER)
    assert leases.held() == ({BLOB}, {LAYER})
    leases.release("build")
    leases.release("build")
    assert leases.held() == (set(), set())


def test_two_leases_on_one_thing_are_independent(leases: Leases) -> None:
    first, second = leases.create(), leases.create()
    first.add_blob(BLOB)
    second.add_blob(BLOB)
    leases.release(first.id)
    assert leases.held().blobs == {BLOB}


def test_a_lease_ends_with_its_block_even_when_that_fails(leases: Leases) -> None:
    with pytest.raises(KeyError), leases.hold() as lease:
        lease.add_blob(BLOB)
        assert leases.held().blobs == {BLOB}
        raise KeyError
    assert not leases.held().blobs


def test_a_lease_that_exists_is_not_made_again(leases: Leases) -> None:
    leases.create("build")
    with pytest.raises(ConflictError):
        leases.create("build")


def test_an_ended_lease_holds_nothing_more(leases: Leases) -> None:
    lease = leases.create()
    leases.release(lease.id)
    with pytest.raises(NotFoundError):
        lease.add_blob(BLOB)


def test_leases_expire_when_their_time_has_come(leases: Leases) -> None:
    leases.create("short", expires=150.0).add_blob(BLOB)
    leases.create("endless").add_layer(LAYER)
    assert leases.expire(149.0) == 0
    assert leases.expire(150.0) == 1
    assert leases.held() == (set(), {LAYER})


def test_at_start_the_leases_of_the_earlier_process_are_dropped(leases: Leases) -> None:
    leases.create("running build").add_blob(BLOB)
    leases.create("debug session", process=False).add_layer(LAYER)
    assert leases.drop_process_leases() == 1
    assert leases.held() == (set(), {LAYER})
