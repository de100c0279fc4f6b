"""A second, closer look at pairs that a hash calls near: do their details match, not only light and dark?

A hash, and any correlation of blurred pictures, cannot tell two small spots on plain skin apart. What a blur takes
away (hairs, edges, the pattern of the lesion) correlates only between pictures of one scene, once the second is shifted
and enlarged to fit the first.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter

_SIGMA = 1.5  # pixels of 64: coarser is light and dark, which the hash has seen
_ZOOMS = (1.0, 1.05, 1.11)  # a crop of 2.4 % or of 5 % on each side
_SHIFT = 6  # pixels of 64, each way
_BLOCK = 256


def coarse_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of pictures as they lie, at a quarter of their side: cheap, and enough to refuse most.

    Args:
        first: (m, s, s) uint8, grey.
        second: (m, s, s) uint8.

    Returns:
        (m,) float64 within [−1, 1]; 0 where one is of one colour.
    """
    small = [_quarter(pictures) for pictures in (first, second)]
    a, b = (_unit(pictures) for pictures in small)
    return np.asarray((a * b).sum(axis=(1, 2)), dtype="float64")


def detail_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Highest correlation of the details of two pictures, over small shifts and over zooming into either.

    About 1 ms a pair.

    Args:
        first: (m, s, s) uint8, grey.
        second: (m, s, s) uint8.

    Returns:
        (m,) float64 within [−1, 1]; 0 where one has no details.
    """
    best = np.zeros(len(first))
    for start in range(0, len(first), _BLOCK):
        block = slice(start, start + _BLOCK)
        one = [_spectra(first[block], zoom) for zoom in _ZOOMS]
        other = [_spectra(second[block], zoom) for zoom in _ZOOMS]
        fits = [_peak(one[0], other[0])]
        for zoomed in range(1, len(_ZOOMS)):
            fits += [_peak(one[zoomed], other[0]), _peak(one[0], other[zoomed])]
        best[block] = np.max(fits, axis=0)
    return best


def _quarter(pictures: np.ndarray) -> np.ndarray:
    m, side, _ = pictures.shape
    return np.asarray(pictures.reshape(m, side // 4, 4, side // 4, 4).mean(axis=(2, 4), dtype="float32"))


def _unit(pictures: np.ndarray) -> np.ndarray:
    """Mean 0 and norm 1 each; zero where there is no contrast."""
    values = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((values**2).sum(axis=(1, 2), keepdims=True))
    return np.asarray(np.where(norm > 1e-3, values / np.maximum(norm, 1e-3), 0.0))


def _spectra(pictures: np.ndarray, zoom: float) -> np.ndarray:
    """Fourier transforms of the details, after zooming into the middle."""
    side = pictures.shape[1]
    edge = (side - side / zoom) / 2
    box = (edge, edge, side - edge, side - edge)
    if zoom > 1:
        resized = [Image.fromarray(p).resize((side, side), Image.Resampling.BILINEAR, box=box) for p in pictures]
        pictures = np.stack([np.asarray(p) for p in resized])
    values = pictures.astype("float32")
    details = values - gaussian_filter(values, sigma=(0, _SIGMA, _SIGMA))
    return np.asarray(rfft2(_unit(details)))


def _peak(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Highest circular cross-correlation over shifts of at most `_SHIFT` each way."""
    side = one.shape[1]
    correlation = irfft2(one * np.conj(other), s=(side, side))
    near = np.r_[0 : _SHIFT + 1, side - _SHIFT : side]
    return np.asarray(correlation[:, near][:, :, near].max(axis=(1, 2)))
