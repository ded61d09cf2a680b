"""A Gaussian process on few ratings: its kernel is averaged over a small grid by the evidence, no choice is left.

Most columns of an embedding say nothing of what an astronomer likes, and one column, a size, may say most of it. So
columns are weighted, half by their variance and half by how well each alone follows the ratings. On
the columns so weighted, the kernel is a mixture of a linear one and of a squared exponential (Rasmussen & Williams
2006, chapter 2). Mixtures, lengths and noises of a grid are averaged, each weighted by its marginal likelihood: with
few ratings many count, with many few.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit

from radiowidgets.parallel import map_chunks
from radiowidgets.ranking.trees import add_products

CENTRES = 200  # ratings at most; the trees see all
LENGTHS = (0.5, 1.0, 2.0)  # in root mean square distances from the mean frame; each half the next
LINEAR = (0.0, 0.25, 0.5, 1.0)  # share of the linear kernel
NOISE = (0.1, 0.3, 1.0, 3.0)  # variance of a rating that no frame like it shares, beside that of the kernel
CHANCE = 1.5  # standard deviations of a correlation by chance, which count for nothing
BLOCK = 2048  # rows worked out together
STEPS = 12  # of the path along which a prediction is shared out to columns


class Process:
    """A fitted Gaussian process; `fit` makes it."""

    def __init__(
        self, scale: np.ndarray, centres: np.ndarray, curved: np.ndarray, linear: np.ndarray, intercept: float
    ) -> None:
        self._scale = scale.astype(np.float32)  # (d,), of the columns
        self._centres = np.ascontiguousarray(centres, dtype=np.float32)  # (m, d), scaled
        self._curved = curved  # (lengths, m)
        self.linear = linear  # (d,), of the columns as they come
        self._intercept = intercept

    @classmethod
    def fit(
        cls, rows: np.ndarray, target: np.ndarray, variance: np.ndarray | None = None, *, seed: int = 0
    ) -> "Process":
        """Return the process of ratings.

        Parameters
        ----------
        rows : (m, d) array
            Values less the mean of all frames; of more than 200 rows as many are drawn.
        target : (m,) array
            Not all alike.
        variance : (d,) array, optional
            Of the columns, over all frames; default: 1. It says how much a column counts that ratings say nothing of.
        seed : int
            Of the rows drawn.
        """
        if len(rows) > CENTRES:
            drawn = np.sort(np.random.default_rng(seed).choice(len(rows), CENTRES, replace=False))
            if np.ptp(target[drawn]) > 0:
                rows, target = rows[drawn], target[drawn]
        rows = np.asarray(rows, dtype=np.float64)
        variance = np.ones(rows.shape[1]) if variance is None else np.asarray(variance, dtype=np.float64)
        variance = np.maximum(variance, 1e-6 * max(float(variance.max()), 1e-12))
        told = relevance(rows, target)
        alike = 1 / variance.sum()
        scale = (
            np.sqrt(0.5 * alike + 0.5 * told / variance) if told.any() else np.full(len(told), np.sqrt(alike))
        )
        known = rows * scale
        mean, deviation = float(target.mean()), float(target.std())
        curved, linear = _average(known, (target - mean) / deviation)
        return cls(scale, known, curved * deviation, known.T @ linear * deviation * scale, mean)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the expected target (n,) of rows (n, d)."""
        out = np.full(len(rows), self._intercept)
        add_products(rows, self.linear, out)
        weights = self._curved.astype(np.float32)

        def work(start: int) -> None:
            scaled = rows[start : start + BLOCK].astype(np.float32) * self._scale
            bell = _exponents(scaled, self._centres, np.float32(-0.5 / LENGTHS[-1] ** 2))
            np.exp(bell, out=bell)
            _add_bells(bell, weights, out[start : start + BLOCK])

        map_chunks(work, range(0, len(rows), BLOCK))
        return out

    @property
    def baseline(self) -> float:
        """What is expected of the mean frame."""
        return float(self.predict(np.zeros((1, len(self._scale)), np.float32))[0])

    def attribute(self, rows: np.ndarray) -> np.ndarray:
        """Return what each column adds to `baseline`, (n, d), for rows (n, d).

        The gradient, integrated on the straight path from the mean frame (Sundararajan et al. 2017); the sum over
        the columns is the difference of the predictions.
        """
        rows = np.asarray(rows, dtype=np.float64)
        nodes, shares = np.polynomial.legendre.leggauss(STEPS)
        centres, scaled = self._centres.astype(np.float64), rows * self._scale
        out = rows * self.linear
        for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
            away = node * scaled[:, None, :] - centres
            square = (away**2).sum(axis=2)
            for length, weights in zip(LENGTHS, self._curved, strict=True):
                pull = weights * np.exp(-0.5 * square / length**2) / length**2
                out -= share * scaled * np.einsum("nm,nmd->nd", pull, away)
        return out


def relevance(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return shares (d,) of the columns by their squared correlation with a target, less what chance gives.

    All are 0 where no correlation is above that.
    """
    centred, wanted = rows - rows.mean(axis=0), target - target.mean()
    width = np.sqrt((centred**2).sum(axis=0) * (wanted**2).sum())
    told = np.abs(centred.T @ wanted) / np.maximum(width, 1e-9) - CHANCE / np.sqrt(len(rows))
    square = np.maximum(told, 0) ** 2
    return square / max(square.sum(), 1e-300)


def _average(known: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the centres, (lengths, m) in the squared exponentials and (m,) in the linear kernel."""
    from scipy.linalg import cho_factor, cho_solve

    m = len(known)
    product = known @ known.T
    square = np.diag(product)
    distance = np.maximum(square[:, None] + square - 2 * product, 0)
    curved, linear, found = np.zeros((len(LENGTHS), m)), np.zeros(m), []
    for share, k, kernel in _kernels(product, distance):
        for noise in NOISE:
            factor = cho_factor(kernel + noise * np.eye(m), lower=True, overwrite_a=True, check_finite=False)
            solved = cho_solve(factor, target, check_finite=False)
            # The scale of the kernel and the noise is the likeliest one.
            evidence = -0.5 * m * np.log(target @ solved) - np.log(np.diag(factor[0])).sum()
            found.append((evidence, share, k, solved))
    chance = np.exp(np.array([one[0] for one in found]) - max(one[0] for one in found))
    for weight, (_, share, k, solved) in zip(chance / chance.sum(), found, strict=True):
        linear += weight * share * solved
        curved[k] += weight * (1 - share) * solved
    return curved, linear


def _kernels(product: np.ndarray, distance: np.ndarray) -> Iterator[tuple[float, int, np.ndarray]]:
    for k, length in enumerate(LENGTHS):
        bell = np.exp(-0.5 * distance / length**2)
        for share in LINEAR:
            if share < 1 or k == 0:  # a linear kernel has no length
                yield share, k, share * product + (1 - share) * bell


# Compiled rather than a matrix product: each row by itself, whichever are asked for with it, and no threads of a BLAS
# that wait for each other.


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def _exponents(rows, centres, factor):
    out = np.empty((len(rows), len(centres)), np.float32)
    for i in range(len(rows)):
        for j in range(len(centres)):
            square = np.float32(0.0)
            for k in range(rows.shape[1]):
                away = rows[i, k] - centres[j, k]
                square += away * away
            out[i, j] = factor * square
    return out


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def _add_bells(bell, weights, out):
    for i in range(len(bell)):
        total = np.float32(0.0)
        for j in range(bell.shape[1]):
            wide = bell[i, j]
            half = wide * wide * wide * wide  # half the length is the fourth power
            quarter = half * half * half * half
            total += weights[2, j] * wide + weights[1, j] * half + weights[0, j] * quarter
        out[i] += total
