"""Images with a single layer, made from files and not from another image: base images, imported root file systems."""

from __future__ import annotations

from boatyard.image import documents, spec
from boatyard.image.layer.store import LayerStore
from boatyard.image.platform import Platform
from boatyard.image.snapshot.snapshotter import SnapshotId
from boatyard.image.spec import Descriptor, History, ImageConfig, Manifest, RootFS, RunConfig


def make_single(
    layers: LayerStore, active: SnapshotId, platform: Platform, config: RunConfig, entry: History
) -> tuple[Descriptor, Descriptor]:
    """Commit an active snapshot, and make an image of it that was created when `entry` says. The descriptors of its
    manifest, for the caller to name, and its config. After a failure nothing is left, nor is the snapshot. Blocks."""
    try:
        layer = layers.add(active)
    except BaseException:
        layers.snapshotter.remove(active)
        raise
    try:
        ((diff_id, size),) = layers.describe((layer,))
        document = ImageConfig(
            architecture=platform.architecture,
            os=platform.os,
            variant=platform.variant,
            created=entry.created,
            config=config,
            rootfs=RootFS(diff_ids=(diff_id,)),
            history=(entry,),
        )
        described = documents.write(layers.content, spec.encode(document), spec.OCI_CONFIG)
        manifest = Manifest(
            schema_version=2,
            media_type=spec.OCI_MANIFEST,
            config=described,
            layers=(Descriptor(media_type=spec.OCI_LAYER, digest=diff_id, size=size),),
        )
        target = documents.write(layers.content, spec.encode(manifest), spec.OCI_MANIFEST)
        layers.record_chain((layer,))
    except BaseException:
        layers.remove(layer)
        raise
    return target, described
