"""Telling apart: whether a simple classifier can say which of two sets a sound is from.

Two sets that nobody can tell apart are alike in whatever the classifier sees; how well it does is a test for that
(Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017, arXiv:1610.06545). This one is ridge
regression (Hoerl and Kennard, Technometrics 12, 1970) to the two sets' numbers, on the 20 principal components
(Hotelling, 1933) of the sketches and their squares: a plane sees where sounds lie, squares see how widely they spread.
Both sets weigh the same, whatever their sizes. It learns from four fifths of the patches of each set and is tested on
the rest, in turn, so no patch is in both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

COMPONENTS = 20
LEAST_VARIANCE = 1e-6  #: of a component, as a share of the first one's: below that, it is rounding
RIDGE = 1.0  #: added to the sum of squares of each feature, which are of unit variance
FOLDS = 5
SEED = 0  #: of which patches make a fold
SAMPLED = 4_096  #: sounds of a set that are enough: the error of an AUC is then below 0.01

Sounds = tuple[NDArray[np.float32], NDArray[np.intp]]  #: what they are told apart by, shape (n, L); their patches


class ToldApart(BaseModel):
    """How well the two sets are told apart: 0.5 is not at all, 1 is always."""

    model_config = ConfigDict(frozen=True)

    auc: float  # mean over the folds
    deviation: float  # standard deviation of the folds
    folds: tuple[float, ...]

    def to_text(self) -> str:
        """Say it in a few words."""
        return f"{self.auc:.3f} ± {self.deviation:.3f}"


def tell_apart(ours: Sounds, theirs: Sounds) -> ToldApart | None:
    """Train and test the classifier, in each fold anew.

    Parameters
    ----------
    ours, theirs : pair of ndarray
        Sketches, shape (n, L), float32, and the number of each one's patch, shape (n,).

    Returns
    -------
    ToldApart or None
        None where one side has fewer patches than there are folds. The same input always gives the same.
    """
    chance = np.random.default_rng(SEED)
    folds = [_folds(patches, chance) for _, patches in (ours, theirs)]
    if any(fold is None for fold in folds):
        return None
    sounds = np.concatenate([ours[0], theirs[0]])
    fold_of = np.concatenate([fold for fold in folds if fold is not None])
    is_theirs = np.repeat([False, True], [len(ours[0]), len(theirs[0])])
    aucs = []
    for fold in range(FOLDS):
        train, test = fold_of != fold, fold_of == fold
        scores = _Classifier(sounds[train], is_theirs[train]).scores(sounds[test])
        aucs.append(auc(scores[is_theirs[test]], scores[~is_theirs[test]]))
    return ToldApart(
        auc=round(float(np.mean(aucs)), 4),
        deviation=round(float(np.std(aucs, ddof=1)), 4),
        folds=tuple(round(one, 4) for one in aucs),
    )


def auc(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    """The area under the ROC curve: the share of pairs in which `higher` has the higher score, ties counting half.

    That is Mann and Whitney's U over the number of pairs (Hanley and McNeil, Radiology 143, 1982).

    >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    ranked = np.sort(lower)
    below = (np.searchsorted(ranked, higher, "left") + np.searchsorted(ranked, higher, "right")) / 2
    return float(below.mean() / len(lower))


def _folds(patches: NDArray[np.intp], chance: np.random.Generator) -> NDArray[np.intp] | None:
    """Deal patches out to folds, as evenly as can be; give each sound's fold."""
    names, of_sound = np.unique(patches, return_inverse=True)
    if len(names) < FOLDS:
        return None
    dealt: NDArray[np.intp] = chance.permutation(len(names)) % FOLDS
    return dealt[of_sound.ravel()]


class _Classifier:
    """Ridge regression on principal components and their squares, trained when it is made."""

    def __init__(self, sounds: NDArray[np.float32], is_theirs: NDArray[np.bool_]) -> None:
        share = is_theirs.mean()
        weights = np.where(is_theirs, 0.5 / share, 0.5 / (1 - share))
        self.centre = np.average(sounds, axis=0, weights=weights)
        scaled = (sounds - self.centre) * np.sqrt(weights)[:, None]
        self.axes = _principal_axes(scaled)
        features = self._features(sounds)
        self.mean = np.average(features, axis=0, weights=weights)
        deviation = np.sqrt(np.average((features - self.mean) ** 2, axis=0, weights=weights))
        self.scale = np.where(deviation > 0, deviation, 1.0)
        standard = (features - self.mean) / self.scale
        squares = standard.T @ (standard * weights[:, None]) + RIDGE * np.eye(standard.shape[1])
        target = np.where(is_theirs, 1.0, -1.0) * weights
        self.slopes = np.linalg.solve(squares, standard.T @ target)

    def scores(self, sounds: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score sounds: the higher, the more like theirs."""
        scores: NDArray[np.float64] = (self._features(sounds) - self.mean) / self.scale @ self.slopes
        return scores

    def _features(self, sounds: NDArray[np.float32]) -> NDArray[np.float64]:
        along = (sounds - self.centre) @ self.axes
        return np.hstack([along, along**2])


def _principal_axes(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """The axes along which sounds, shape (n, L), vary most: shape (L, at most `COMPONENTS`), rising.

    Few sounds span few axes; the others are left out: along them, any new sound would be infinitely far out.
    """
    from scipy.linalg import eigh

    is_wide = len(centred) < centred.shape[1]  # then the smaller of the two products has the same variances
    square = centred @ centred.T if is_wide else centred.T @ centred
    variances, vectors = eigh(square, subset_by_index=(max(0, len(square) - COMPONENTS), len(square) - 1))
    is_real = variances > LEAST_VARIANCE * variances[-1]
    axes: NDArray[np.float64] = vectors[:, is_real]
    return centred.T @ axes / np.sqrt(variances[is_real]) if is_wide else axes
