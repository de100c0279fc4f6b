"""Connected components: rows that share a value, directly or through other rows, are one."""

from __future__ import annotations

import numpy as np
import pandas as pd


def connected_components(*labellings: pd.Series | np.ndarray) -> np.ndarray:
    """Number the components of rows.

    Two rows belong together if they carry one value in one of the labellings, or are joined by a chain of such rows.

    Args:
        labellings: each (n,) values; a missing one joins nothing. Values of two labellings are never compared.

    Returns:
        (n,) int64, 0 … k−1, in the order of first rows.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components as components

    # A graph of rows and values; each labelling has numbers of its own for its values.
    n = size = len(labellings[0])
    rows, nodes = [], []
    for labels in labellings:
        codes, values = pd.factorize(np.asarray(labels, dtype=object))
        rows.append(np.flatnonzero(codes >= 0))
        nodes.append(codes[codes >= 0] + size)
        size += len(values)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row), dtype=np.int8), (row, node)), shape=(size, size))
    found = components(graph, directed=False)[1][:n]
    return np.asarray(pd.factorize(found)[0], dtype="int64")
