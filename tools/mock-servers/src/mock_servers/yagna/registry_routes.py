"""Routes of the image registry, which the public network runs at an address of its own."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mock_servers.yagna.daemon import Daemon, Identity
from mock_servers.yagna.reading import RouteTable

__all__ = ["ROUTES"]


async def image_info(daemon: Daemon, who: Identity, request: Request) -> Response:
    """Resolve an image hash or tag, as the public registry does; a tag is looked up like a hash."""
    wanted = request.query_params.get("hash") or request.query_params.get("tag")
    if not wanted:
        return PlainTextResponse("missing hash or tag", 400)
    if wanted not in daemon.config.images and daemon.config.unknown_images == "404":
        return PlainTextResponse(f"Image not found: {wanted}", 404)
    url = str(request.url_for("image_file", name=f"{wanted}.gvmi"))
    return JSONResponse({"http": url, "https": url, "sha3": wanted, "size": 1 << 20})


async def image_file(daemon: Daemon, who: Identity, request: Request) -> Response:
    """Answer for an image file; providers here read the image's folder, so nothing is downloaded."""
    return Response(status_code=200, media_type="application/octet-stream")


ROUTES: RouteTable = [
    ("GET", "/v1/image/info", image_info),
    ("GET", "/images/{name}", image_file),
]
