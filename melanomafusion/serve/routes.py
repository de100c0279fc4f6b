"""What may be asked: the JSON API, and the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Form, UploadFile
from fastapi.responses import HTMLResponse, PlainTextResponse

from ..deploy.predictor import Predictor
from .answer import Answer, answer
from .measures import Measures
from .page import Page
from .pdf import report_pdf
from .refusals import refuse_unknown_fields
from .schema import ErrorOut, ModelOut, PredictionOut
from .slots import Slots

PATHS = frozenset({"/", "/card", "/docs", "/healthz", "/metrics", "/openapi.json", "/api/v1/model", "/api/v1/predict"})
_LONGEST_FIELD = 100  # characters
_Text = Annotated[str | None, Form(max_length=_LONGEST_FIELD, description="Left out, empty or unknown: missing.")]
_Image = Annotated[UploadFile | None, File(description="JPEG or PNG, at most 10 MB and 50 million pixels.")]
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorOut, "description": "Not a form that can be read"},
    413: {"model": ErrorOut, "description": "Too many bytes or pixels"},
    415: {"model": ErrorOut, "description": "Not a JPEG or PNG image"},
    422: {"model": ErrorOut, "description": "A damaged image, or a field that cannot be meant"},
    503: {"model": ErrorOut, "description": "Busy; Retry-After says when to come again"},
}
_KNOWN_FIELDS = [Depends(refuse_unknown_fields)]
Fields = dict[str, str | None]
Answered = Callable[..., Awaitable[Answer]]


def answered_by(predictor: Predictor, slots: Slots) -> Answered:
    """A call that reads an upload and scores it in a slot."""

    async def answered(image: UploadFile | None, fields: Fields, **wanted: bool) -> Answer:
        content = None if image is None or not image.filename else await image.read()
        return await slots.run(lambda: answer(predictor, content, fields, **wanted))

    return answered


def add_api(app: FastAPI, answered: Answered, page: Page, measures: Measures) -> None:
    """`/api/v1/predict`, `/api/v1/model`, `/healthz`, `/metrics`."""

    @app.post("/api/v1/predict", responses=_ERRORS, dependencies=_KNOWN_FIELDS, summary="Score one image")
    async def predict(
        image: _Image = None,
        sex: _Text = None,
        age_approx: _Text = None,
        anatom_site_general_challenge: _Text = None,
        heatmap: Annotated[bool, Form(description="Give the heat map too.")] = False,
    ) -> PredictionOut:
        """Score, calibrated probability, classes, models, warnings, and the heat map where asked for.

        A field of any other name is refused.
        """
        fields = _fields(sex, age_approx, anatom_site_general_challenge)
        return page.as_json(await answered(image, fields, heatmap=heatmap))

    @app.get("/api/v1/model", summary="What is served")
    async def model() -> ModelOut:
        """Recipe, fields, classes, threshold and measured AUC."""
        return page.model()

    @app.get("/healthz", summary="Whether the server answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(measures.as_text(), media_type="text/plain; version=0.0.4")


def add_pages(app: FastAPI, answered: Answered, page: Page, slots: Slots, predictor: Predictor, card: str) -> None:
    """`/` (form and result), `/card`, `/docs`."""

    @app.get("/", include_in_schema=False)
    async def form() -> HTMLResponse:
        return HTMLResponse(page.form())

    @app.post("/", dependencies=_KNOWN_FIELDS, include_in_schema=False)
    async def result(
        image: _Image = None,
        sex: _Text = None,
        age_approx: _Text = None,
        anatom_site_general_challenge: _Text = None,
    ) -> HTMLResponse:
        fields = _fields(sex, age_approx, anatom_site_general_challenge)
        found = await answered(image, fields, pictures=True)
        return HTMLResponse(await slots.run(lambda: page.result(found, fields, report_pdf(found, predictor))))

    @app.get("/card", include_in_schema=False)
    async def model_card() -> HTMLResponse:
        return HTMLResponse(page.card(card))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page.docs(app.openapi()))


def _fields(sex: str | None, age: str | None, site: str | None) -> Fields:
    return {"sex": sex, "age_approx": age, "anatom_site_general_challenge": site}
