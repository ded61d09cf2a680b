"""Forests as flat arrays: extra trees grown on ratings in milliseconds, predictions, and what each split adds.

A forest is grown anew after every rating, on a few hundred frames at most, and read for a million: both are done here
by compiled loops over one set of arrays, which `sklearn` forests are brought to as well.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from radiowidgets.parallel import map_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 4096  # in one piece of work
BLOCK = 512  # that go down a tree together


class Forest:
    """Trees as flat arrays, and a value that every node has.

    The value of a node is the mean of what its two children have, weighted by their training rows, so that going
    down a path moves it step by step from the mean of all to the value of the leaf.

    Parameters
    ----------
    counts : sequence of int
        Nodes of each tree; the root comes first, parents before their children.
    left : (nodes,) array of int
        The child on the left, counted from the root of the tree; -1 at leaves. The one on the right comes next.
    feature : (nodes,) array of int
    threshold : (nodes,) array
        Rows whose feature is at most so go to the left.
    value : (nodes,) array
    """

    def __init__(self, counts: Sequence[int], left: Any, feature: Any, threshold: Any, value: Any) -> None:
        self.roots = np.r_[0, np.cumsum(counts)[:-1]].astype(np.int64)
        first = np.repeat(self.roots, counts)
        left = np.asarray(left, dtype=np.int64)
        self._left = np.where(left >= 0, left + first, -1).astype(np.int32)
        self._feature = np.maximum(np.asarray(feature, dtype=np.int32), 0)
        cut = np.asarray(threshold).astype(np.float32)
        # Rows are float32: rounded down, a threshold parts them as the float64 one does.
        self._threshold = np.where(cut > threshold, np.nextafter(cut, np.float32(-np.inf)), cut)
        self._value = np.asarray(value, dtype=np.float64)

    @classmethod
    def of(cls, trees: Sequence[Any], values: Sequence[np.ndarray]) -> "Forest":
        """Return `sklearn.tree._tree.Tree` objects as a forest, with a value of each node."""
        counts = [tree.node_count for tree in trees]
        left, places = [], []
        for tree in trees:
            place = _beside(tree.children_left, tree.children_right)
            inner = tree.children_left >= 0
            moved = np.full(tree.node_count, -1, np.int64)
            moved[place[inner]] = place[tree.children_left[inner]]
            left.append(moved)
            places.append(np.argsort(place))

        def joined(columns: Sequence[np.ndarray]) -> "NDArray[Any]":
            return np.concatenate([column[place] for column, place in zip(columns, places, strict=True)])

        feature, threshold = (
            joined([getattr(tree, name) for tree in trees]) for name in ("feature", "threshold")
        )
        return cls(counts, np.concatenate(left), feature, threshold, joined(values))

    @classmethod
    def grow(
        cls, rows: np.ndarray, target: np.ndarray, *, trees: int = 64, features: float = 0.33, seed: int = 0
    ) -> "Forest":
        """Return extremely randomised trees (Geurts et al. 2006) that predict `target`, the same for the same seed.

        At each node a share `features` of the columns that still vary is tried, each at one random threshold, and
        the split that leaves the smallest variance is taken, down to leaves of one target.

        Parameters
        ----------
        rows : (n, d) array
        target : (n,) array
        trees : int
        features : float
            In (0, 1].
        seed : int
        """
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        tried = max(1, round(features * rows.shape[1]))
        seeds = np.random.SeedSequence(seed).generate_state(trees, np.uint64)
        size = trees * max(2 * len(rows) - 1, 1)
        left, feature = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
        threshold, value = np.zeros(size, np.float32), np.zeros(size)
        counts = np.zeros(trees, np.int64)
        _grow(
            rows,
            np.asarray(target, np.float64),
            tried,
            seeds,
            left,
            feature,
            threshold,
            value,
            counts,
        )
        used = int(counts.sum())
        return cls(counts.tolist(), left[:used], feature[:used], threshold[:used], value[:used])

    @property
    def baseline(self) -> float:
        """Mean value of the roots."""
        return float(self._value[self.roots].mean())

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean value of the leaves, (n,), for rows (n, d)."""
        out = np.zeros(len(rows))
        nodes = (self.roots, self._feature, self._threshold, self._left, self._value)

        def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for start in range(0, len(rows), ROWS):
                piece = slice(start, start + ROWS)
                yield np.ascontiguousarray(rows[piece], dtype=np.float32), out[piece]

        for _ in map_chunks(lambda piece: _add_leaves(piece[0], *nodes, piece[1]), pieces()):
            pass
        return out / len(self.roots)

    def attribute(self, rows: np.ndarray) -> np.ndarray:
        """Return what each feature adds to the mean value of the leaves, (n, d), for rows (n, d)."""
        rows = np.ascontiguousarray(rows, dtype=np.float32)  # as trees compare them
        out = np.zeros(rows.shape)
        _add_moves(rows, self.roots, self._feature, self._threshold, self._left, self._value, out)
        return out / len(self.roots)


def add_products(rows: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Add to `out` the products of rows (n, d) with weights (d,), each row by itself, in double precision."""
    starts = range(0, len(rows), ROWS)
    rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    weights = np.ascontiguousarray(weights, dtype=np.float64)
    map_chunks(lambda k: _add_products(rows[k : k + ROWS], weights, out[k : k + ROWS]), starts)


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def _add_products(rows, weights, out):
    for i in range(len(rows)):
        total = 0.0
        for k in range(len(weights)):
            total += rows[i, k] * weights[k]
        out[i] += total


@njit(nogil=True, cache=True)
def _add_leaves(rows, roots, feature, threshold, left, value, out):
    columns = np.empty((rows.shape[1], BLOCK), np.float32)
    order, right = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    stack = np.empty((len(left) + 2, 3), np.int64)  # node, its first row, the row after its last
    for start in range(0, len(rows), BLOCK):
        length = min(BLOCK, len(rows) - start)
        for i in range(length):
            for k in range(rows.shape[1]):
                columns[k, i] = rows[start + i, k]
        for root in roots:
            for i in range(length):
                order[i] = i
            stack[0, 0], stack[0, 1], stack[0, 2] = root, 0, length
            waiting = 1
            while waiting:
                waiting -= 1
                node, low, high = stack[waiting, 0], stack[waiting, 1], stack[waiting, 2]
                if left[node] < 0:
                    for j in range(low, high):
                        out[start + order[j]] += value[node]
                    continue
                middle = _send(columns[feature[node]], threshold[node], order, right, low, high)
                for side, first, last in ((1, middle, high), (0, low, middle)):
                    if first < last:
                        child = left[node] + side
                        stack[waiting, 0], stack[waiting, 1], stack[waiting, 2] = child, first, last
                        waiting += 1


@njit(nogil=True, cache=True)
def _send(column, cut, order, right, low, high):
    """Part rows of a block in place, without a branch that depends on them; return where those on the right begin."""
    middle, moved = low, 0
    for j in range(low, high):
        i = order[j]
        beyond = column[i] > cut
        order[middle] = right[moved] = i
        middle += 1 - beyond
        moved += beyond
    for j in range(moved):
        order[middle + j] = right[j]
    return middle


@njit(nogil=True, cache=True)
def _add_moves(rows, roots, feature, threshold, left, value, out):
    for i in range(len(rows)):
        for root in roots:
            node = root
            while left[node] >= 0:
                k = feature[node]
                child = left[node] + (rows[i, k] > threshold[node])
                out[i, k] += value[child] - value[node]
                node = child


@njit(nogil=True, cache=True)
def _beside(left, right):
    """Return new places of the nodes of a tree, with siblings beside each other and parents before children."""
    place = np.zeros(len(left), np.int64)
    waiting = np.zeros(len(left), np.int64)  # nodes in the order of their places
    used = 1
    for k in range(len(left)):
        node = waiting[k]
        place[node] = k
        if left[node] >= 0:
            waiting[used], waiting[used + 1] = left[node], right[node]
            used += 2
    return place


@njit(nogil=True, cache=True)
def _next(state):
    """Return the next state of a 64-bit generator (xorshift*, Vigna 2016), never 0."""
    state ^= state >> np.uint64(12)
    state ^= state << np.uint64(25)
    state ^= state >> np.uint64(27)
    return state


@njit(nogil=True, cache=True)
def _uniform(state):
    return float((state * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(11)) / 9007199254740992.0


@njit(nogil=True, cache=True)
def _grow(rows, target, tried, seeds, left, feature, threshold, value, counts):
    n, d = rows.shape
    order = np.arange(n)
    columns = np.arange(d)
    stack = np.empty((2 * n + 2, 3), np.int64)  # node, first row, row after the last
    first = 0
    for tree in range(len(seeds)):
        state = seeds[tree] | np.uint64(1)
        used, waiting = 1, 1
        stack[0] = (0, 0, n)
        while waiting:
            waiting -= 1
            node, low, high = stack[waiting]
            at = first + node
            mine = order[low:high]
            value[at] = target[mine].mean()
            if (target[mine] == target[mine[0]]).all():
                continue
            state, column, cut = _split(rows, target, mine, value[at], columns, tried, state)
            if column < 0:
                continue
            middle = low + _part(rows, mine, column, cut)
            left[at], feature[at], threshold[at] = used, column, cut
            stack[waiting] = (used + 1, middle, high)
            stack[waiting + 1] = (used, low, middle)
            used += 2
            waiting += 2
        counts[tree] = used
        first += used


@njit(nogil=True, cache=True)
def _split(rows, target, mine, mean, columns, tried, state):
    """Return the state of the generator, and the best of `tried` columns that vary, -1 for none, and its cut."""
    best, best_column, best_cut = -1.0, -1, np.float32(0.0)
    looked, rest = 0, len(columns)
    while looked < tried and rest:
        state = _next(state)
        chosen = min(int(_uniform(state) * rest), rest - 1)
        rest -= 1
        column = columns[chosen]
        columns[chosen], columns[rest] = columns[rest], column
        smallest = largest = rows[mine[0], column]
        for i in mine:
            smallest, largest = min(smallest, rows[i, column]), max(largest, rows[i, column])
        if not smallest < largest:
            continue
        looked += 1
        state = _next(state)
        cut = np.float32(smallest + np.float32(_uniform(state)) * (largest - smallest))
        if not cut < largest:
            cut = smallest
        count, total = 0, 0.0
        for i in mine:
            if rows[i, column] <= cut:
                count += 1
                total += target[i] - mean
        gain = total * total * (1.0 / count + 1.0 / (len(mine) - count))
        if gain > best:
            best, best_column, best_cut = gain, column, cut
    return state, best_column, best_cut


@njit(nogil=True, cache=True)
def _part(rows, mine, column, cut):
    """Bring the rows that go to the left to the front, and return their number."""
    middle, end = 0, len(mine)
    while middle < end:
        if rows[mine[middle], column] <= cut:
            middle += 1
        else:
            end -= 1
            mine[middle], mine[end] = mine[end], mine[middle]
    return middle
