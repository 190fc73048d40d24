"""Logistic regression with a fixed L2 penalty: many labellings of the same rows at once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

PENALTY = 1.0
"""Half of it times the squared norm of the weights is added to the summed loss; the constant is free."""

Matrix: TypeAlias = NDArray[np.float64]


def fit(rows: Matrix, labels: NDArray[np.bool_]) -> Matrix:
    """Weights of shape (labellings, width + 1), the constant last, from labels of shape (labellings, rows).

    `rows`, of shape (rows, width), should be standardised. The problems share nothing but the solver, which
    is L-BFGS on all of them together.
    """
    known = np.hstack([rows, np.ones((len(rows), 1))])
    signs = np.where(labels, 1.0, -1.0)
    shape = (len(signs), known.shape[1])
    penalty = np.full(shape[1], PENALTY)
    penalty[-1] = 0.0

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weights = flat.reshape(shape)
        margins = signs * (weights @ known.T)
        slopes = -signs * special.expit(-margins)
        total = np.logaddexp(0.0, -margins).sum() + (penalty * weights**2).sum() / 2
        return float(total), (slopes @ known + penalty * weights).ravel()

    found: Any = optimize.minimize(
        loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 300}
    )
    weights: Matrix = found.x.reshape(shape)
    return weights


def predict(weights: Matrix, rows: Matrix) -> NDArray[np.bool_]:
    """Whether each row is labelled true, of shape (labellings, rows)."""
    return np.asarray(rows @ weights[:, :-1].T + weights[:, -1] > 0).T
