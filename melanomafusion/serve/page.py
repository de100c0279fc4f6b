"""What the server shows: pages from templates, and the same as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import jinja2

from ..data.schema import MAX_AGE, SEXES, SITES
from ..deploy.predictor import Predictor
from ..notice import NOT_A_MEDICAL_DEVICE
from .answer import Answer
from .markdown import to_html
from .report import LABELS, as_text, given_rows, ranked, result_rows, system_rows
from .schema import ModelOut, PredictionOut
from .uploads import MAX_BYTES

_CHOICES = {"sex": SEXES, "anatom_site_general_challenge": SITES}


class Page:
    """Templates filled with what one predictor says; every text is escaped.

    Args:
        predictor: of the models that are served.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        loader = jinja2.PackageLoader("melanomafusion.serve")
        self._templates = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._templates.filters |= {"base64": _base64}
        self._templates.globals |= {
            "notice": NOT_A_MEDICAL_DEVICE,
            "model": predictor,
            "fields": [(name, LABELS[name], _CHOICES.get(name)) for name in LABELS if name in predictor.fields],
            "max_age": MAX_AGE,
            "max_bytes": MAX_BYTES,
            "takes_image": bool(predictor.specs),
            "system": system_rows(predictor),
        }

    def form(self, given: Mapping[str, str | None] | None = None) -> str:
        """The page that asks for an image."""
        return self._filled("form.html", given=given or {})

    def result(self, answer: Answer, given: Mapping[str, str | None], pdf: bytes) -> str:
        """The page with a result, and the form for the next one."""
        prediction = answer.prediction
        return self._filled(
            "result.html",
            given=given,
            answer=answer,
            prediction=prediction,
            rows=result_rows(prediction, self._predictor),
            inputs=given_rows(prediction, self._predictor),
            classes=ranked(prediction.classes),
            report=as_text(answer, self._predictor),
            pdf=pdf,
        )

    def refused(self, status: int, message: str) -> str:
        """The form again, with what went wrong above it."""
        return self._filled("form.html", given={}, problem=message, status=status)

    def card(self, text: str) -> str:
        """The model card."""
        return self._filled("card.html", card=to_html(text))

    def docs(self, description: Mapping[str, Any]) -> str:
        """The API in words: the usual viewers would load their code from elsewhere."""
        return self._filled("docs.html", api=description)

    def as_json(self, answer: Answer) -> PredictionOut:
        """For the API."""
        content = answer.prediction.to_dict()
        content["heatmap"] = None if answer.overlay is None else _base64(answer.overlay)
        return PredictionOut(**{name: content[name] for name in PredictionOut.model_fields})

    def model(self) -> ModelOut:
        """For the API."""
        model, auc = self._predictor, self._predictor.metrics.get("auc")
        return ModelOut(
            notice=NOT_A_MEDICAL_DEVICE,
            name=model.name,
            recipe=model.recipe.name,
            engine=model.engine,
            models=len(model.members),
            fields=list(model.fields),
            classes=list(model.recipe.classes),
            image_size=model.specs[0].size if model.specs else None,
            threshold=model.threshold,
            calibrated_on=model.calibrated_on,
            auc=[auc["estimate"], *auc["bootstrap"]["interval"]] if auc else None,
        )

    def _filled(self, name: str, **values: Any) -> str:
        return self._templates.get_template(name).render(**values)


def _base64(content: bytes | str) -> str:
    return base64.b64encode(content if isinstance(content, bytes) else content.encode()).decode("ascii")
