from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from boatyard.build.exporter import assemble, options
from boatyard.build.exporter.assemble import AssembledImage, LayerBlob
from boatyard.build.exporter.base import BuiltImage
from boatyard.image import digest as digests
from boatyard.image import documents, spec
from boatyard.image.platform import Platform
from boatyard.image.spec import Descriptor, History, ImageConfig

AMD64 = Platform(os="linux", architecture="amd64")


def layer(number: int) -> LayerBlob:
    digest = digests.of_bytes(str(number).encode())
    return LayerBlob(Descriptor(media_type=spec.OCI_LAYER, digest=digest, size=number), digest, 100.0 + number)


def built(*history: History, **fields: object) -> BuiltImage:
    config = ImageConfig(architecture="amd64", os="linux", history=history)
    return BuiltImage(platform=AMD64, result=None, config=config, **fields)  # type: ignore[arg-type]


def assembled(image: BuiltImage, layers: list[LayerBlob], **attrs: str) -> AssembledImage:
    return assemble.image(image, layers, options.parse(attrs, oci=True), indexed=False)


def config_of(image: AssembledImage) -> ImageConfig:
    return documents.parse_config(image.config.data)


def test_the_manifest_names_config_and_layers_by_their_digests() -> None:
    image = assembled(built(History(created_by="RUN x")), [layer(1)])
    manifest = documents.parse_manifest(image.manifest.data)
    assert manifest.config == image.config.descriptor
    assert manifest.layers == (layer(1).descriptor,)
    assert image.config.descriptor.digest == digests.of_bytes(image.config.data)
    assert image.manifest.descriptor.digest == digests.of_bytes(image.manifest.data)


def test_layers_and_history_match_in_order() -> None:
    history = (History(created_by="ENV a", empty_layer=True), History(created_by="RUN 1"), History(created_by="RUN 2"))
    config = config_of(assembled(built(*history), [layer(1), layer(2)]))
    assert config.rootfs.diff_ids == (layer(1).diff_id, layer(2).diff_id)
    assert [entry.empty_layer for entry in config.history] == [True, False, False]
    assert config.history[1].created == "1970-01-01T00:01:41Z"
    assert config.history[2].created == "1970-01-01T00:01:42Z"


def test_the_same_layers_make_the_same_image_however_late_it_is_built() -> None:
    first = assembled(built(History(created_by="RUN 1")), [layer(1)])
    again = assembled(built(History(created_by="RUN 1")), [layer(1)])
    assert first.manifest == again.manifest


def test_the_image_is_as_old_as_its_newest_layer() -> None:
    config = config_of(assembled(built(History(created_by="1"), History(created_by="2")), [layer(5), layer(3)]))
    assert config.created == "1970-01-01T00:01:45Z"


def test_an_epoch_bounds_every_time() -> None:
    config = config_of(assembled(built(History(created_by="1"), epoch=50), [layer(1)]))
    assert config.created == "1970-01-01T00:00:50Z"
    assert config.history[0].created == "1970-01-01T00:00:50Z"


def test_a_base_images_history_keeps_its_times() -> None:
    base = History(created="2020-01-01T00:00:00Z", created_by="base")
    config = config_of(assembled(built(base, History(created_by="mine")), [layer(1), layer(2)]))
    assert config.history[0].created == "2020-01-01T00:00:00Z"


def test_layers_beyond_the_history_get_an_entry() -> None:
    config = config_of(assembled(built(History(created_by="1")), [layer(1), layer(2)]))
    assert sum(not entry.empty_layer for entry in config.history) == 2


def test_steps_that_made_no_layer_are_marked_empty() -> None:
    config = config_of(assembled(built(History(created_by="1"), History(created_by="2")), [layer(1)]))
    assert sum(not entry.empty_layer for entry in config.history) == 1


def test_an_index_lists_platforms_and_its_own_annotations() -> None:
    wanted = options.parse({"annotation-index.who": "me", "annotation.what": "it"}, oci=True)
    image = assemble.image(built(), [], wanted, indexed=True)
    index = documents.parse_index(assemble.index([image], wanted).data)
    assert index.manifests[0].platform == AMD64
    assert index.annotations == {"who": "me"}
    assert documents.parse_manifest(image.manifest.data).annotations == {"what": "it"}


def test_docker_types_are_used_throughout_when_asked_for() -> None:
    image = assembled(built(History(created_by="1")), [layer(1)], **{"oci-mediatypes": "false"})
    manifest = documents.parse_manifest(image.manifest.data)
    assert (manifest.media_type, manifest.config.media_type) == (spec.DOCKER_MANIFEST, spec.DOCKER_CONFIG)
    assert manifest.layers[0].media_type == spec.DOCKER_LAYER


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 12))
def test_history_always_has_as_many_layers_as_there_are(empties: list[bool], layers: int) -> None:
    history = [History(created_by=str(number), empty_layer=empty) for number, empty in enumerate(empties)]
    config = config_of(assembled(built(*history), [layer(number) for number in range(layers)]))
    assert sum(not entry.empty_layer for entry in config.history) == layers
    assert msgspec.json.decode(msgspec.json.encode(config))["rootfs"]["type"] == "layers"
