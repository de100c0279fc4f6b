"""`build_app`: the page, the JSON API and what looks after them, around one predictor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ..deploy.predictor import Predictor
from ..errors import MetadataError
from ..notice import NOT_A_MEDICAL_DEVICE
from .answer import Answer, answer
from .measures import Counted, Measures
from .page import Page
from .pdf import report_pdf
from .schema import ErrorOut, ModelOut, PredictionOut
from .security import SecurityHeaders
from .slots import RETRY_AFTER, Busy, Slots
from .uploads import MAX_BYTES, BodyLimit, UploadError

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_QUEUE_PER_SLOT = 8
_LONGEST_FIELD = 100  # characters
_PATHS = frozenset({"/", "/card", "/docs", "/healthz", "/metrics", "/openapi.json", "/api/v1/model", "/api/v1/predict"})
_Text = Annotated[str | None, Form(max_length=_LONGEST_FIELD, description="Left out, empty or unknown: missing.")]
_Image = Annotated[UploadFile | None, File(description="JPEG or PNG, at most 10 MB and 50 million pixels.")]
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorOut, "description": "Not a form that can be read"},
    413: {"model": ErrorOut, "description": "Too many bytes or pixels"},
    415: {"model": ErrorOut, "description": "Not a JPEG or PNG image"},
    422: {"model": ErrorOut, "description": "A damaged image, or a field that cannot be meant"},
    503: {"model": ErrorOut, "description": "Busy; Retry-After says when to come again"},
}


def build_app(
    predictor: Predictor, *, card: str = "", hosts: Sequence[str] = LOCAL_HOSTS, slots: int | None = None
) -> FastAPI:
    """The application; uvicorn or a test runs it.

    Args:
        predictor: of the models to serve.
        card: model card, Markdown; shown as it is.
        hosts: names and addresses that requests may be for; others are refused, so that no foreign page can reach a
            server on this machine by a name of its own.
        slots: requests worked on at the same time; one per core without it.
    """
    MultiPartParser.spool_max_size = MAX_BYTES + 1  # an upload stays in memory: nothing is stored
    places = Slots(slots or os.cpu_count() or 1, _QUEUE_PER_SLOT * (slots or os.cpu_count() or 1))
    measures = Measures(places)
    page = Page(predictor)
    app = FastAPI(
        title="melanomafusion",
        version="1",
        description=f"{NOT_A_MEDICAL_DEVICE} One image and its metadata in, score out. Nothing is stored.",
        docs_url=None,
        redoc_url=None,
    )

    async def answered(image: UploadFile | None, fields: dict[str, str | None], **wanted: bool) -> Answer:
        content = None if image is None or not image.filename else await image.read()
        return await places.run(lambda: answer(predictor, content, fields, **wanted))

    @app.post("/api/v1/predict", responses=_ERRORS, summary="Score one image")
    async def predict(
        image: _Image = None,
        sex: _Text = None,
        age_approx: _Text = None,
        anatom_site_general_challenge: _Text = None,
        heatmap: Annotated[bool, Form(description="Give the heat map too.")] = False,
    ) -> PredictionOut:
        """Score, calibrated probability, classes, models, warnings, and the heat map where asked for."""
        fields = {"sex": sex, "age_approx": age_approx, "anatom_site_general_challenge": anatom_site_general_challenge}
        return page.as_json(await answered(image, fields, heatmap=heatmap))

    @app.get("/api/v1/model", summary="What is served")
    async def model() -> ModelOut:
        """Recipe, fields, classes, threshold and measured AUC."""
        return page.model()

    @app.get("/", include_in_schema=False)
    async def form() -> HTMLResponse:
        return HTMLResponse(page.form())

    @app.post("/", include_in_schema=False)
    async def result(
        image: _Image = None,
        sex: _Text = None,
        age_approx: _Text = None,
        anatom_site_general_challenge: _Text = None,
    ) -> HTMLResponse:
        fields = {"sex": sex, "age_approx": age_approx, "anatom_site_general_challenge": anatom_site_general_challenge}
        found = await answered(image, fields, pictures=True)
        return HTMLResponse(await places.run(lambda: page.result(found, fields, report_pdf(found, predictor))))

    @app.get("/card", include_in_schema=False)
    async def model_card() -> HTMLResponse:
        return HTMLResponse(page.card(card))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page.docs(app.openapi()))

    @app.get("/healthz", summary="Whether the server answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(measures.as_text(), media_type="text/plain; version=0.0.4")

    def refused(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        if request.url.path == "/" or not request.url.path.startswith(("/api/", "/healthz")):
            return HTMLResponse(page.refused(status, message), status, headers)
        return JSONResponse({"error": message}, status, headers)

    @app.exception_handler(UploadError)
    async def upload_refused(request: Request, error: UploadError) -> Response:
        return refused(request, error.status, error.message)

    @app.exception_handler(MetadataError)
    async def field_refused(request: Request, error: MetadataError) -> Response:
        return refused(request, 422, str(error))

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> Response:
        message = f"The server is busy. Try again in {RETRY_AFTER} seconds."
        return refused(request, 503, message, {"Retry-After": str(RETRY_AFTER)})

    @app.exception_handler(RequestValidationError)
    async def form_refused(request: Request, error: RequestValidationError) -> Response:
        wrong = sorted({str(problem["loc"][-1]) for problem in error.errors()} & _KNOWN)
        return refused(request, 422, f"{', '.join(wrong) or 'The form'}: not as expected. See /docs for the fields.")

    @app.exception_handler(HTTPException)
    async def http_refused(request: Request, error: HTTPException) -> Response:
        return refused(request, error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return refused(request, 500, "Something went wrong here. Nothing was stored.")

    app.mount("/static", StaticFiles(packages=[(__package__, "static")]), name="static")
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*hosts])
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Counted, measures=measures, paths=_PATHS)
    return app


_KNOWN = {"image", "sex", "age_approx", "anatom_site_general_challenge", "heatmap"}
