"""The command line. Every heavy import is inside its command; wrong data end in one message and exit code 1."""

from . import (
    audit,
    baseline,
    bundle,
    compress,
    data,
    explain,
    fetch,
    predict,
    prepare,
    recipes,
    scores,
    serve,
    status,
    submit,
    training,
)
from .app import app, main

__all__ = [
    "app",
    "audit",
    "baseline",
    "bundle",
    "compress",
    "data",
    "explain",
    "fetch",
    "main",
    "predict",
    "prepare",
    "recipes",
    "scores",
    "serve",
    "status",
    "submit",
    "training",
]
