"""What a client reads when it gets no answer: a page or JSON that says why, never a stack trace."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from ..errors import MetadataError
from .page import Page
from .slots import RETRY_AFTER, Busy
from .uploads import UploadError

FIELDS = ("image", "sex", "age_approx", "anatom_site_general_challenge", "heatmap")  # of the form
_MOST_NAMES = 5  # of unknown fields that are said again
_LONGEST_NAME = 40  # characters of a field nobody knows that are said again
_AS_JSON = ("/api/", "/healthz")


async def refuse_unknown_fields(request: Request) -> None:
    """Nothing may be sent that nobody reads: `age` for `age_approx` would be a score without an age.

    Raises:
        MetadataError: a field of the form that is not one of `FIELDS` or stands in it twice, or one in the address.
    """
    form = await request.form()
    twice = [name for name in FIELDS if len(form.getlist(name)) > 1]
    if twice:
        raise MetadataError(f"{', '.join(twice)}: given more than once.")
    unknown = [repr(name[:_LONGEST_NAME]) for name in form if name not in FIELDS]
    unknown += [f"{name[:_LONGEST_NAME]!r} (in the address)" for name in request.query_params]
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMES:,} more" if len(unknown) > _MOST_NAMES else ""
        names = ", ".join(unknown[:_MOST_NAMES])
        raise MetadataError(f"There is no field {names}{more}. Fields of the form: {', '.join(FIELDS)}.")


def add_refusals(app: FastAPI, page: Page) -> None:
    """Turn every error into an answer.

    Args:
        app: to add handlers to.
        page: draws refusals of pages.
    """

    def refused(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        if request.url.path.startswith(_AS_JSON):
            return JSONResponse({"error": message}, status, headers)
        return HTMLResponse(page.refused(status, message), status, headers)

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
        # FastAPI's own answer would send back what was sent.
        wrong = sorted({str(problem["loc"][-1]) for problem in error.errors()} & set(FIELDS))
        return refused(request, 422, f"{', '.join(wrong) or 'The form'}: not as expected. See /docs for the fields.")

    @app.exception_handler(HTTPException)
    async def http_refused(request: Request, error: HTTPException) -> Response:
        return refused(request, error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return refused(request, 500, "Something went wrong here. Nothing was stored.")
