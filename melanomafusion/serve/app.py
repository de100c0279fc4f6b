"""`build_app`: pages, JSON API and what looks after them, around one predictor."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.formparsers import MultiPartParser
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ..deploy.predictor import Predictor
from ..notice import NOT_A_MEDICAL_DEVICE
from .measures import Counted, Measures
from .page import Page
from .refusals import add_refusals
from .routes import PATHS, add_api, add_pages, answered_by
from .security import SecurityHeaders
from .slots import Slots
from .uploads import MAX_BYTES, BodyLimit

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_QUEUE_PER_SLOT = 8


def build_app(
    predictor: Predictor, *, card: str = "", hosts: Sequence[str] = LOCAL_HOSTS, slots: int | None = None
) -> FastAPI:
    """The application; uvicorn or a test runs it.

    Args:
        predictor: of the models to serve.
        card: model card, Markdown.
        hosts: names and addresses that requests may be for; others are refused, so that no foreign page can reach a
            server on this machine by a name of its own.
        slots: requests worked on at the same time; one per core without it.
    """
    MultiPartParser.spool_max_size = MAX_BYTES + 1  # an upload stays in memory: nothing is stored
    count = slots or os.cpu_count() or 1
    places = Slots(count, _QUEUE_PER_SLOT * count)
    measures, page = Measures(places), Page(predictor)
    app = FastAPI(
        title="melanomafusion",
        version="1",
        description=f"{NOT_A_MEDICAL_DEVICE} One image and its metadata in, score out. Nothing is stored.",
        docs_url=None,  # the usual viewers load their code from elsewhere
        redoc_url=None,
    )
    answered = answered_by(predictor, places)
    add_api(app, answered, page, measures)
    add_pages(app, answered, page, places, predictor, card)
    add_refusals(app, page)
    app.mount("/static", StaticFiles(packages=[("melanomafusion.serve", "static")]), name="static")
    # The last one added is the first to see a request.
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*hosts])
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Counted, measures=measures, paths=PATHS)
    return app
