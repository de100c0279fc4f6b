"""Images decoded in threads, some batches before they are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.containers import split_locator
from ..errors import ImageError
from ..images.decode import opened_image
from ..images.spec import ImageSpec

Image = str | Path | bytes
_AHEAD = 4  # batches


class Decoded(NamedTuple):
    """An image as each model sees it, and its size as it came: (width, height), None of a row in a shard."""

    pixels: dict[ImageSpec, np.ndarray]
    size: tuple[int, int] | None


def decoded_ahead(
    images: Sequence[Image | None], specs: Sequence[ImageSpec], batch_size: int
) -> Iterator[tuple[list[int], list[Decoded | ImageError]]]:
    """Batches in order: the rows, and each image decoded, or why it cannot be read.

    Args:
        images: paths or bytes; None where there is none.
        specs: how; none for models that look at no image.
        batch_size: images.
    """
    load = partial(_decoded, specs)
    if len(images) == 1:  # no thread is worth its start
        yield [0], [load(images[0])]
        return
    waiting: deque[tuple[list[int], list[Future[Decoded | ImageError]]]] = deque()
    with ThreadPoolExecutor() as pool:
        try:
            for start in range(0, len(images), batch_size):
                rows = list(range(start, min(start + batch_size, len(images))))
                waiting.append((rows, [pool.submit(load, images[row]) for row in rows]))
                if len(waiting) > _AHEAD:
                    first, futures = waiting.popleft()
                    yield first, [future.result() for future in futures]
            for rows, futures in waiting:
                yield rows, [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


def _decoded(specs: Sequence[ImageSpec], image: Image | None) -> Decoded | ImageError:
    if not specs:
        return Decoded({}, None)
    if image is None:
        return ImageError("There is no image, and the model looks at one.")
    try:
        return Decoded({spec: spec.load(image) for spec in specs}, _size(image))
    except ImageError as error:
        return error


def _size(image: Image) -> tuple[int, int] | None:
    if not isinstance(image, bytes) and split_locator(image):
        return None
    with opened_image(image) as opened:
        return opened.size
