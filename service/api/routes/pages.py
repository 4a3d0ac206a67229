"""The pages for people: the landing page, and the OpenAPI document with Swagger UI, whose files come with the server.

Every address in them is relative, so that they work without a network and below any prefix.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from service.api.dependencies import ContainerDep
from service.api.examples import examples, fill, simplest
from service.api.landing import landing_page
from service.api.scopes import PUBLIC
from service.container import Container
from service.errors import ServiceError
from service.registry.registry import ModelInfo

router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])
_PAGES = Path(__file__).parents[1] / "pages"
_LANDING_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'"
_DOCS_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)
_KEPT = {"Cache-Control": "public, max-age=3600"}


def _readable(container: Container) -> list[ModelInfo]:
    """Return the models that anybody may read: all of them if the server needs no keys, else none."""
    try:
        container.authenticator.authenticate(None).check("models:read")
        return container.registry.available
    except ServiceError:
        return []


@router.api_route("/", methods=["GET", "HEAD"])
def landing(request: Request, container: ContainerDep) -> Response:
    """Show what this server serves."""
    template = (_PAGES / "landing.html").read_text()
    page = landing_page(
        template,
        _readable(container),
        str(request.base_url),
        request.scope.get("root_path", ""),
        console=container.settings.shows_console,
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": _LANDING_POLICY})


@router.api_route("/docs", methods=["GET", "HEAD"])
def docs() -> Response:
    """Show the OpenAPI document, and send requests from the browser."""
    return HTMLResponse((_PAGES / "docs.html").read_text(), headers={"Content-Security-Policy": _DOCS_POLICY})


@router.api_route("/openapi.json", methods=["GET", "HEAD"])
def openapi(request: Request, container: ContainerDep) -> Response:
    """Return the OpenAPI document, with examples for a model that is served."""
    document = request.app.openapi()
    model = simplest(_readable(container))
    if model is not None:
        document = fill(document, examples(model))
    if prefix := request.scope.get("root_path", "").rstrip("/"):
        document = {**document, "servers": [{"url": prefix}]}
    return JSONResponse(document)


def _asset(name: str, path: Path) -> None:
    def asset() -> Response:
        return FileResponse(path, headers=_KEPT)

    router.add_api_route(f"/docs/{name}", asset, methods=["GET", "HEAD"], name=name)


_SWAGGER = Path(str(files("fastapi_offline"))) / "static"
_asset("swagger-ui.js", _SWAGGER / "swagger-ui-bundle.js")
_asset("swagger-ui.css", _SWAGGER / "swagger-ui.css")
_asset("favicon.png", _SWAGGER / "favicon.png")
_asset("start.js", _PAGES / "start.js")
_asset("landing.css", _PAGES / "landing.css")
