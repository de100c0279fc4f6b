"""What is said of one upload: the prediction, and its pictures made anew from pixels."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import cv2
import numpy as np
from PIL import Image

from ..deploy.prediction import Prediction
from ..deploy.predictor import Predictor
from ..errors import ImageError
from .uploads import UploadError, check_upload, in_words

_SHOWN = 512  # pixels; the picture is shown larger than small models see it
_STRONGEST = 0.75  # opacity of the heat map over the picture
_LEVELS = np.arange(256, dtype="uint8")
_COLOURS = cv2.applyColorMap(_LEVELS[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]  # (256, 3), RGB
_OPACITY = (_LEVELS * _STRONGEST).astype("uint8")
_QUALITY = 90


@dataclass(frozen=True)
class Answer:
    """Of one upload.

    Attributes:
        prediction: of the image and its metadata.
        made: when, UTC.
        picture: the image as the model sees it, JPEG; None without an image or where no pictures were asked for.
        overlay: heat map in colours, transparent where there is no evidence, PNG; None where not asked for.
    """

    prediction: Prediction
    made: datetime
    picture: bytes | None = None
    overlay: bytes | None = None


def answer(
    predictor: Predictor,
    content: bytes | None,
    fields: Mapping[str, str | None],
    *,
    heatmap: bool = False,
    pictures: bool = False,
) -> Answer:
    """Score an upload.

    Args:
        predictor: of the bundle that is served.
        content: of the image file; None where none was sent.
        fields: column → text; None or "" where not known.
        heatmap: compute where the evidence lies.
        pictures: make picture and overlay too.

    Raises:
        UploadError: the image cannot be used, is missing, or is not looked at.
        MetadataError: a field that cannot be meant.
    """
    if predictor.specs:
        if content is None:
            raise UploadError(422, "There is no image. Choose a JPEG or PNG file.")
        check_upload(content)
    elif content is not None:
        raise UploadError(422, "This model looks at no image. Send the metadata alone.")
    given = {name: value for name, value in fields.items() if value is not None and value.strip()}
    now = datetime.now(UTC)
    try:
        prediction = predictor.predict(content, heatmap=heatmap or pictures, **given)
        if content is None or prediction.heatmap is None:
            return Answer(prediction, now)
        if not pictures:
            return Answer(prediction, now, overlay=overlay_png(prediction.heatmap))
        spec = predictor.specs[0]
        shown = dataclasses.replace(spec, size=max(spec.size, _SHOWN)).load(content)
    except ImageError as error:
        raise UploadError(422, in_words(error)) from None
    return Answer(prediction, now, _jpeg(shown), overlay_png(prediction.heatmap, len(shown)))


def overlay_png(heatmap: np.ndarray, size: int | None = None) -> bytes:
    """A heat map in colours, the more opaque the stronger the evidence; PNG.

    Args:
        heatmap: (H, H) in 0–1.
        size: side in pixels; the heat map's own without it.
    """
    values = heatmap if size is None else cv2.resize(heatmap, (size, size), interpolation=cv2.INTER_LINEAR)
    shown = Image.fromarray((np.clip(values, 0.0, 1.0) * 255).astype("uint8"))
    shown.putpalette(_COLOURS.tobytes())
    file = io.BytesIO()
    # A palette says all there is in a quarter of the bytes, and is encoded ten times as fast as four channels.
    shown.save(file, "PNG", transparency=_OPACITY.tobytes(), compress_level=1)
    return file.getvalue()


def _jpeg(pixels: np.ndarray) -> bytes:
    done, content = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return content.tobytes()
