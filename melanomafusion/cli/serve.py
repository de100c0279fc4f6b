"""`melanomafusion serve`: the page and its API on this machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from ..errors import BundleError, MelanomaFusionError
from ..notice import NOT_A_MEDICAL_DEVICE
from .app import app, console
from .predict import EngineOption

_MISSING = 'Serving needs {}: pip install "melanomafusion[serve]"'


@app.command(epilog=NOT_A_MEDICAL_DEVICE)
def serve(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Ensemble bundle, run folder, bundle or ONNX file.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine only when told.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    allow_host: Annotated[list[str] | None, typer.Option(help="Further name the server is called by; repeat.")] = None,
    engine: Annotated[EngineOption, typer.Option(help="What computes.")] = EngineOption.auto,
) -> None:
    """Serve a page and a JSON API that score an image, on this machine alone unless told otherwise."""
    try:
        import uvicorn

        from ..serve.app import LOCAL_HOSTS, build_app
    except ModuleNotFoundError as error:
        raise MelanomaFusionError(_MISSING.format(error.name)) from None
    from ..deploy.predictor import Predictor

    cores = os.cpu_count() or 1
    predictor = Predictor(model, engine=engine.value, threads=1, at_once=cores)
    slots = 1 if "keras" in predictor.engine else cores
    hosts = [*LOCAL_HOSTS, host, *(allow_host or [])]
    application = build_app(predictor, card=_card(model), hosts=hosts, slots=slots)
    listening = _listen(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}"
    console.print(
        f"Serving {predictor.name} ({predictor.engine}, {slots} at once) at {address} – Ctrl-C stops.", markup=False
    )
    console.print(NOT_A_MEDICAL_DEVICE, markup=False)
    config = uvicorn.Config(application, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


def _card(path: Path) -> str:
    """The model card, where one can be had."""
    from ..deploy.bundle import Bundle
    from ..deploy.card import fold_card
    from ..deploy.ensemble_bundle import CARD, CONTENT

    if (path / CONTENT).is_file() and (path / CARD).is_file():
        return (path / CARD).read_text(encoding="utf-8")
    try:
        return fold_card(Bundle.read(path))
    except BundleError:
        return ""


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise MelanomaFusionError(f"Cannot listen on {host}, port {port}: {reason}. Choose another --port.") from None
    return listening
