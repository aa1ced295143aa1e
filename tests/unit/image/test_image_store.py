from __future__ import annotations

import itertools

import pytest

from boatyard.errors import ConflictError, InvalidError, NotFoundError
from boatyard.image import digest as digests
from boatyard.image import documents
from boatyard.image.content.memory import MemoryStore
from boatyard.image.database import Database
from boatyard.image.reference import parse
from boatyard.image.spec import Descriptor
from boatyard.image.store import ImageStore
from fixtures.images import AMD64, ARM64, make_attestation, make_image, make_index


@pytest.fixture
def content() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def images(content: MemoryStore) -> ImageStore:
    ticks = itertools.count(1.0)
    return ImageStore(Database(":memory:"), content, clock=lambda: next(ticks))


@pytest.fixture
def first(content: MemoryStore) -> Descriptor:
    return make_image(content, labels={"n": "1"})


@pytest.fixture
def second(content: MemoryStore) -> Descriptor:
    return make_image(content, labels={"n": "2"})


def names(images: ImageStore) -> list[str]:
    return [image.name for image in images.list()]


def config_digest(content: MemoryStore, descriptor: Descriptor) -> str:
    return documents.read_manifest(content, descriptor).config.digest


def test_an_image_is_found_under_every_spelling_of_its_name(images: ImageStore, first: Descriptor) -> None:
    stored = images.put("tool", first)
    assert stored.name == "docker.io/library/tool:latest"
    for spelling in ("tool", "tool:latest", "docker.io/tool", "index.docker.io/library/tool:latest", parse("tool")):
        found = images.get(spelling)
        assert found == stored
    assert images.get("tool:1") is None
    assert images.get("example.org/tool") is None


def test_what_was_stored_survives_the_process(content: MemoryStore, first: Descriptor, tmp_path: object) -> None:
    path = f"{tmp_path}/meta.db"
    database = Database(path)
    image = ImageStore(database, content).put("tool", first)
    database.close()
    assert ImageStore(Database(path), content).list() == [image]


def test_an_image_may_have_several_names(images: ImageStore, first: Descriptor) -> None:
    images.put("b", first)
    images.put("a:2", first)
    assert [image.name for image in images.named(first.digest)] == names(images)
    assert names(images) == ["docker.io/library/a:2", "docker.io/library/b:latest"]


def test_a_name_that_moves_on_leaves_a_dangling_image(
    images: ImageStore, first: Descriptor, second: Descriptor
) -> None:
    images.put("tool", first)
    images.put("tool", second)
    dangling = next(image for image in images.list() if image.dangling)
    assert (dangling.target, dangling.reference) == (first, None)
    assert images.resolve(first.digest) == dangling
    images.put("again", first)
    assert names(images) == ["docker.io/library/again:latest", "docker.io/library/tool:latest"]


def test_a_replaced_image_with_another_name_does_not_dangle(
    images: ImageStore, first: Descriptor, second: Descriptor
) -> None:
    images.put("tool", first)
    images.put("other", first)
    images.put("tool", second)
    assert not any(image.dangling for image in images.list())


def test_replacing_can_leave_nothing_behind(images: ImageStore, first: Descriptor, second: Descriptor) -> None:
    images.put("tool", first)
    images.put("tool", second, keep_replaced=False)
    assert [image.target for image in images.list()] == [second]


def test_storing_the_same_again_keeps_its_age(images: ImageStore, first: Descriptor, second: Descriptor) -> None:
    before = images.put("tool", first)
    after = images.put("tool", first)
    assert after.created == before.created
    assert after.updated > before.updated
    assert images.put("tool", second).created > before.created


def test_only_what_is_in_the_content_store_gets_a_name(images: ImageStore, first: Descriptor) -> None:
    absent = Descriptor(media_type=first.media_type, digest=digests.of_bytes(b"absent"), size=6)
    with pytest.raises(NotFoundError, match="not in the content store"):
        images.put("tool", absent)
    assert names(images) == []


def test_a_pinned_name_must_fit_its_image(images: ImageStore, first: Descriptor, second: Descriptor) -> None:
    assert images.put(f"tool:1@{first.digest}", first).name == f"docker.io/library/tool@{first.digest}"
    with pytest.raises(InvalidError):
        images.put(f"tool@{first.digest}", second)


def test_a_name_with_a_digest_finds_only_that_image(images: ImageStore, first: Descriptor, second: Descriptor) -> None:
    images.put("tool:1", first)
    found = images.get(f"tool:1@{first.digest}")
    assert found is not None
    assert found.target == first
    assert images.get(f"tool@{first.digest}") == found
    assert images.get(f"tool@{second.digest}") is None
    assert images.get(f"other@{first.digest}") is None


def test_a_digest_can_pin_one_platform_of_an_index(content: MemoryStore, images: ImageStore) -> None:
    arm = make_image(content, platform=ARM64)
    images.put("tool", make_index(content, [make_image(content), arm]))
    found = images.get(f"tool@{arm.digest}")
    assert found is not None
    assert found.target == arm


def test_an_image_is_found_by_any_of_its_digests(content: MemoryStore, images: ImageStore, first: Descriptor) -> None:
    arm = make_image(content, platform=ARM64)
    index = make_index(content, [first, arm, make_attestation(content, arm.digest)])
    stored = images.put("tool", index)
    for identity in (
        index.digest,
        first.digest,
        arm.digest,
        config_digest(content, first),
        config_digest(content, arm),
    ):
        assert images.resolve(identity) == stored
        assert images.resolve(digests.encoded(digests.parse(identity))) == stored
        assert images.resolve(identity[:19]) == stored
        assert images.resolve(identity[7:19]) == stored


def test_a_name_goes_before_an_id(images: ImageStore, first: Descriptor, second: Descriptor) -> None:
    images.put("tool", first)
    beginning = first.digest[7:12]
    images.put(beginning, second)
    assert images.resolve(beginning).target == second
    assert images.resolve("sha256:" + beginning).target == first


def test_an_ambiguous_id_is_a_conflict(content: MemoryStore, images: ImageStore) -> None:
    for number in range(20):
        images.put(f"t{number}", make_image(content, labels={"n": str(number)}))
    by_first = sorted(image.target.digest[7] for image in images.list())
    twice = next(digit for digit in by_first if by_first.count(digit) > 1)
    with pytest.raises(ConflictError, match="beginning of several image IDs"):
        images.resolve(twice)


def test_several_names_of_one_image_are_not_ambiguous(images: ImageStore, first: Descriptor) -> None:
    images.put("b", first)
    images.put("a", first)
    assert images.resolve(first.digest[7:17]).name == "docker.io/library/a:latest"


@pytest.mark.parametrize("text", ["deb1an", "debian:bookworm-slin", "example.org/debian"])
def test_a_misspelt_name_is_suggested(images: ImageStore, first: Descriptor, text: str) -> None:
    images.put("debian:bookworm-slim", first)
    with pytest.raises(NotFoundError) as caught:
        images.resolve(text)
    assert caught.value.hint == "did you mean debian:bookworm-slim?"


@pytest.mark.parametrize("text", ["nothing", "a" * 64, "sha256:" + "b" * 64, "abcdef"])
def test_what_is_not_there_is_not_found(images: ImageStore, text: str) -> None:
    with pytest.raises(NotFoundError, match=text):
        images.resolve(text)


def test_a_bad_name_is_said_to_be_bad(images: ImageStore) -> None:
    with pytest.raises(InvalidError):
        images.resolve("Not A Name")


def test_removing_a_name_leaves_the_others(images: ImageStore, first: Descriptor) -> None:
    images.put("a", first)
    images.put("b", first)
    assert images.remove("a").target == first
    assert names(images) == ["docker.io/library/b:latest"]
    with pytest.raises(NotFoundError):
        images.remove("a")


def test_deleting_by_name_untags_until_the_last(images: ImageStore, first: Descriptor) -> None:
    images.put("a", first)
    images.put("b", first)
    once = images.delete("a")
    assert (once.untagged, once.deleted) == (("docker.io/library/a:latest",), ())
    assert images.delete("b").deleted == (first.digest,)
    assert names(images) == []


def test_deleting_by_id_takes_all_names_of_one_repository(images: ImageStore, first: Descriptor) -> None:
    images.put("a:1", first)
    images.put("a:2", first)
    deleted = images.delete(first.digest[:20])
    assert deleted.untagged == ("docker.io/library/a:1", "docker.io/library/a:2")
    assert deleted.deleted == (first.digest,)


def test_deleting_by_id_over_several_repositories_needs_force(images: ImageStore, first: Descriptor) -> None:
    images.put("a", first)
    images.put("b", first)
    with pytest.raises(ConflictError, match="a:latest, b:latest"):
        images.delete(first.digest)
    assert len(images.delete(first.digest, force=True).untagged) == 2


def test_a_dangling_image_is_deleted_by_id(images: ImageStore, first: Descriptor, second: Descriptor) -> None:
    images.put("a", first)
    images.put("a", second)
    assert images.delete(first.digest[7:]).deleted == (first.digest,)
    assert len(names(images)) == 1


def test_a_damaged_image_can_still_be_found_and_deleted(
    content: MemoryStore, images: ImageStore, first: Descriptor
) -> None:
    images.put("a", first)
    content.delete(documents.read_manifest(content, first).config.digest)
    content.delete(first.digest)
    assert images.resolve(first.digest[7:17]).name == "docker.io/library/a:latest"
    assert images.id(images.resolve("a")) == first.digest
    images.delete("a")
    assert names(images) == []


def test_the_image_id_is_the_configs_digest(content: MemoryStore, images: ImageStore, first: Descriptor) -> None:
    index = make_index(content, [first, make_image(content, platform=ARM64)])
    image = images.put("tool", index)
    assert images.id(image, AMD64) == config_digest(content, first)
    assert images.id(images.put("single", first)) == config_digest(content, first)


def test_changes_are_told_when_they_have_happened(content: MemoryStore) -> None:
    told: list[tuple[str, str]] = []
    store = ImageStore(Database(":memory:"), content, told=lambda change: told.append((change.action, change.name)))
    first, second = make_image(content), make_image(content, labels={"a": "b"})
    store.put("tool", first, built=True)
    store.put("other", first, built=True)
    store.put("tool", second)
    assert told == [
        ("create", ""),
        ("tag", "docker.io/library/tool:latest"),
        ("tag", "docker.io/library/other:latest"),
        ("tag", "docker.io/library/tool:latest"),
    ]
    del told[:]
    store.delete("tool")
    store.remove("other")
    assert told == [
        ("untag", "docker.io/library/tool:latest"),
        ("delete", ""),
        ("untag", "docker.io/library/other:latest"),
    ]
