"""The gateway's web application. `create_app(models, settings)` is its only entrance."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI

from p2pinfer import __version__
from p2pinfer.gateway.access.door import Door
from p2pinfer.gateway.endpoints.batches import batches_router
from p2pinfer.gateway.endpoints.chat import chat_router
from p2pinfer.gateway.endpoints.embeddings import embeddings_router
from p2pinfer.gateway.endpoints.files import files_router
from p2pinfer.gateway.endpoints.models import models_router
from p2pinfer.gateway.endpoints.operations import add_docs, operations_router
from p2pinfer.gateway.endpoints.responses import responses_router
from p2pinfer.gateway.gateway import Gateway
from p2pinfer.gateway.problems import add_problems
from p2pinfer.gateway.settings import Settings
from p2pinfer.gateway.storage import Storage
from p2pinfer.gateway.uploads.uploads import MOST_FORM_BYTES
from p2pinfer.http.security import SecurityHeaders
from p2pinfer.openai_api.work.registry import Models

_DESCRIPTION = "Language models of a p2pinfer swarm, by OpenAI's API."


def create_app(
    models: Models,
    settings: Settings,
    *,
    storage: Storage | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The application. `routers` add addresses, such as a page at `/`; the API's own go first.

    `storage` is where files and batches are kept; None: there are none. Whoever gives one also has to run
    `app.state.gateway.batches.run_forever()`.

    `app.state.gateway.streams.end_all()` ends all streams. A web server calls it before it waits for open
    requests.
    """
    app = FastAPI(
        title="p2pinfer gateway",
        description=_DESCRIPTION,
        version=__version__,
        docs_url=None,  # they load scripts from other sites; /docs is our own
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # readers are private
        redirect_slashes=False,  # a redirect would contain the host name that the request claims
    )
    app.state.gateway = Gateway(models, settings, storage)
    app.add_middleware(
        Door,
        rules=settings.origins,
        most_body_bytes=settings.most_body_bytes,
        most_coming_bytes=settings.most_coming_bytes,
        most_bytes_at={f"{prefix}/files": MOST_FORM_BYTES for prefix in ("/v1", "")},
    )
    app.add_middleware(SecurityHeaders)
    for router in (
        models_router(),
        chat_router(),
        responses_router(),
        embeddings_router(),
        files_router(),
        batches_router(),
    ):
        app.include_router(router, prefix="/v1")
        app.include_router(router, include_in_schema=False)  # Open WebUI asks GET /models
    app.include_router(operations_router())
    add_docs(app)
    for router in routers:
        app.include_router(router)
    add_problems(app)
    return app
