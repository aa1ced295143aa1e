"""Images of the daemon's store. Names contain slashes, so they travel in the query."""

from __future__ import annotations

from collections.abc import Sequence

from boatyard.client.calls.call import Call, StreamCall
from boatyard.client.documents.images import (
    Bootstrapped,
    BootstrapRequest,
    ImageDelete,
    ImageDetail,
    ImageHistory,
    ImageImport,
    ImageList,
    ImageLoad,
    ImagePull,
    ImagePulled,
    ImagePush,
    ImagePushed,
    ImageSave,
    ImagesDeleted,
    ImagesLoaded,
    ImagesSaved,
    ImageTag,
    ImageTagged,
)


def list_images(filters: Sequence[str] = ()) -> Call[ImageList]:
    """Filters as Docker's: `reference=PATTERN`, `dangling=true`, `label=KEY[=VALUE]`, `before=`, `since=`."""
    return Call("GET", "/images", ImageList, query={"filter": "\n".join(filters)} if filters else {})


def inspect_image(name: str, *, platform: str = "") -> Call[ImageDetail]:
    query = {"name": name, "platform": platform} if platform else {"name": name}
    return Call("GET", "/images/inspect", ImageDetail, query=query)


def image_history(name: str, *, platform: str = "") -> Call[ImageHistory]:
    query = {"name": name, "platform": platform} if platform else {"name": name}
    return Call("GET", "/images/history", ImageHistory, query=query)


def delete_images(request: ImageDelete) -> Call[ImagesDeleted]:
    return Call("POST", "/images/delete", ImagesDeleted, body=request)


def tag_image(request: ImageTag) -> Call[ImageTagged]:
    return Call("POST", "/images/tag", ImageTagged, body=request)


def load_images(request: ImageLoad) -> StreamCall[ImagesLoaded]:
    return StreamCall("POST", "/images/load", ImagesLoaded, body=request)


def import_image(request: ImageImport) -> StreamCall[ImagesLoaded]:
    return StreamCall("POST", "/images/import", ImagesLoaded, body=request)


def save_images(request: ImageSave) -> StreamCall[ImagesSaved]:
    """`request.token` must be set: the archive goes to the descriptor, the stream tells the progress."""
    return StreamCall("POST", "/images/save", ImagesSaved, body=request)


def pull_image(request: ImagePull) -> StreamCall[ImagePulled]:
    return StreamCall("POST", "/images/pull", ImagePulled, body=request)


def push_image(request: ImagePush) -> StreamCall[ImagePushed]:
    return StreamCall("POST", "/images/push", ImagePushed, body=request)


def bootstrap(request: BootstrapRequest) -> StreamCall[Bootstrapped]:
    return StreamCall("POST", "/bootstrap", Bootstrapped, body=request)
