"""How near an answered label is to the true one: controls, options and modulation. As given, and up to equivalences.

Only controls that can be heard in the target count. Up to equivalences, each figure is taken at that label of the
target's sound which is nearest by it: of swapped modules all are tried, and modulators are assigned to each other. The
order of slots plays no part: routes are compared as a set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from synthcore.vital.activity import active
from synthcore.vital.controls import Registry
from synthcore.vital.equivalences import equivalences
from synthcore.vital.patch import MAX_SLOTS, Patch, SlotField, is_connected
from synthcore.vital.renaming import SLOTS, Names, columns_moved, head_of, rename

Vector = NDArray[np.float64]
Groups = Sequence[Sequence[str]]  #: modules that may trade places, each with all others of its group
Routes = Mapping[tuple[str, str], float]  #: the amount of each source and end


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """One answer's figures. NaN where there is nothing to measure: no such control, no weights, no routes.

    Attributes
    ----------
    continuous : float
        Mean absolute error of unit values, over the continuous controls that can be heard in the target.
    weighted : float
        Likewise, weighted by importance.
    categorical : float
        Share of right options, over the categorical controls that can be heard in the target.
    precision, recall : float
        Share of the answered routes that the target has, and of the target's that were answered. A route is a source
        and a destination; bypassed slots are none.
    amounts : float
        Mean absolute error of the amounts, on [-1, 1], of the routes that were found.
    """

    continuous: float
    weighted: float
    categorical: float
    precision: float
    recall: float
    amounts: float


class RouteErrors(NamedTuple):
    """How well routes were found; see `LabelErrors`."""

    precision: float
    recall: float
    amounts: float

    @property
    def rank(self) -> tuple[float, float]:
        """By which one is better than another: routes found come first."""
        found, missed = np.nan_to_num([self.precision + self.recall, self.amounts]).tolist()
        return found, -missed


def label_errors(
    target: Patch, answer: Patch, registry: Registry, weights: NDArray[np.float32] | None = None
) -> LabelErrors:
    """Compare an answer's label with its target's, number by number.

    Parameters
    ----------
    target, answer : Patch
    registry : Registry
    weights : ndarray, shape (322,), float32, optional
        The importance of each continuous control: `Dataset.weights().continuous`.
    """
    heard = active(target, registry)
    continuous, weighted, categorical = _control_errors(heard, answer, registry, weights, ({}, target), ())
    routes = route_errors(routes_of(target, registry), routes_of(answer, registry))
    return LabelErrors(continuous, weighted, categorical, *routes)


def label_errors_up_to_equivalences(
    target: Patch, answer: Patch, registry: Registry, weights: NDArray[np.float32] | None = None
) -> LabelErrors:
    """Compare an answer with the nearest of all labels that are the target's sound. No figure is worse than as given.

    Parameters
    ----------
    target, answer, registry, weights
        As for `label_errors`.
    """
    rules = equivalences(registry)
    groups = [names for rule in rules.numbers if (names := rule.free(target)) and names != SLOTS]
    images, heard = rules.named_images(target), active(target, registry)
    errors = np.array([_control_errors(heard, answer, registry, weights, image, groups) for image in images])
    continuous, weighted = errors[:, :2].min(axis=0).tolist()
    found = [route_errors(routes_of(target, registry), routes_of(answer, registry))]
    found += [_assigned_routes(image, answer, registry, groups) for _, image in images]
    return LabelErrors(continuous, weighted, float(errors[:, 2].max()), *max(found, key=lambda one: one.rank))


def _control_errors(
    heard: NDArray[np.bool_],
    answer: Patch,
    registry: Registry,
    weights: NDArray[np.float32] | None,
    image: tuple[Names, Patch],
    groups: Groups,
) -> tuple[float, float, float]:
    """The errors of an answer, by an image (its new names, its label) of a target of which `heard` is active."""
    names, label = image
    sides = np.split(heard.astype(np.float64), [len(registry.continuous)])
    columns = [[c.name for c in controls] for controls in (registry.continuous, registry.categorical)]
    of_values, of_options = (columns_moved(side, of, names) for side, of in zip(sides, columns, strict=True))
    values = (columns[0], label.continuous.astype(np.float64), answer.continuous.astype(np.float64))
    importance = np.full(len(of_values), np.nan) if weights is None else columns_moved(weights, columns[0], names)
    wrong = mean_error(columns[1], label.categorical, answer.categorical, of_options, groups, np.not_equal)
    return mean_error(*values, of_values, groups), mean_error(*values, of_values * importance, groups), 1 - wrong


def mean_error(
    names: Sequence[str],
    target: NDArray[Any],
    answer: NDArray[Any],
    weights: Vector,
    groups: Groups = (),
    difference: Callable[[Any, Any], Any] = lambda a, b: np.abs(a - b),
) -> float:
    """The weighted mean error of an answer, with the modules of each group assigned so that it is least.

    Parameters
    ----------
    names : sequence of str
        Of C controls.
    target, answer : ndarray, shape (C,)
    weights : ndarray, shape (C,), float64
        Of the target's controls; 0 for those that don't count.
    groups : sequence of sequence of str
        Modules that may trade places.
    difference : callable
        The error of two arrays.

    Returns
    -------
    float
        NaN if the weights add up to 0, or hold NaN.
    """
    total = float(weights.sum())
    if not total or np.isnan(total):
        return float("nan")
    single = np.ones(len(names), dtype=bool)
    error = 0.0
    for group in groups:
        columns = _columns(names, group)
        if not columns.size:
            continue
        single[columns] = False
        costs = difference(target[columns][:, None], answer[columns][None])
        costs = (costs * weights[columns][:, None]).sum(axis=2)
        error += float(costs[linear_sum_assignment(costs)].sum())
    error += float((difference(target, answer) * weights)[single].sum())
    return error / total


def _columns(names: Sequence[str], group: Sequence[str]) -> NDArray[np.intp]:
    """Where the controls of each module are, in the same order: shape (modules, controls of one)."""
    by_module: dict[str, list[tuple[str, int]]] = {module: [] for module in group}
    for place, name in enumerate(names):
        if (module := head_of(name)) in by_module:
            by_module[module].append((name[len(module) :], place))
    return np.array([[place for _, place in sorted(by_module[module])] for module in group], dtype=np.intp)


def routes_of(patch: Patch, registry: Registry, *, follow: bool = False) -> Routes:
    """The amounts of a patch's routes; those of equal routes are added up.

    Parameters
    ----------
    patch : Patch
    registry : Registry
    follow : bool
        Whether an end such as `modulation_7_amount` is written as the route in slot 7, whatever its number.
    """
    slots = patch.modulation_slots
    ends = {
        slot: (registry.sources[int(row[SlotField.SOURCE])], registry.destinations[int(row[SlotField.DESTINATION])])
        for slot, row in enumerate(slots)
        if is_connected(row)
    }
    found: dict[tuple[str, str], float] = {}
    for slot, (source, end) in ends.items():
        route = source, _followed(end, ends) if follow else end
        found[route] = found.get(route, 0.0) + float(slots[slot, SlotField.AMOUNT])
    return found


def _followed(end: str, ends: Mapping[int, tuple[str, str]]) -> str:
    """Write out the end of a route that modulates another."""
    for _ in range(MAX_SLOTS):  # at most: they may go round in a circle
        slot = head_of(end.rpartition(">")[2])
        if slot not in SLOTS or SLOTS.index(slot) not in ends:
            break
        head, _, last = end.rpartition(">")
        source, then = ends[SLOTS.index(slot)]
        end = f"{head}>{last[len(slot) :]} of {source}>{then}"
    return end


def route_errors(target: Routes, answer: Routes) -> RouteErrors:
    """Compare two sets of routes."""
    both = target.keys() & answer.keys()
    return RouteErrors(
        precision=len(both) / len(answer) if answer else float("nan"),
        recall=len(both) / len(target) if target else float("nan"),
        amounts=float(np.mean([abs(target[route] - answer[route]) for route in both])) if both else float("nan"),
    )


def _assigned_routes(target: Patch, answer: Patch, registry: Registry, groups: Groups) -> RouteErrors:
    """Compare routes with the modulators of each group assigned so that most are found, then the nearest amounts.

    Groups follow one another, as often as there are groups: what modulates a modulator is found only after it.
    """
    answered = routes_of(answer, registry, follow=True)
    found = [route_errors(routes_of(target, registry, follow=True), answered)]
    for group in [*groups] * len(groups):
        names = _matched(group, routes_of(target, registry, follow=True), answered)
        target = rename(target, names, registry)
        found.append(route_errors(routes_of(target, registry, follow=True), answered))
    return max(found, key=lambda one: one.rank)


def _matched(group: Sequence[str], target: Routes, answer: Routes) -> Names:
    gains = np.array([[_gain(one, other, target, answer) for other in group] for one in group])
    pairs = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
    return {group[one]: group[other] for one, other in pairs}


def _gain(one: str, other: str, target: Routes, answer: Routes) -> float:
    """How many routes of a source are found at another; amounts, apart by at most 2, decide only between equals."""
    ends = {end: amount for (source, end), amount in target.items() if source == one}
    pairs = [(amount, answer[other, end]) for end, amount in ends.items() if (other, end) in answer]
    return sum(1 - abs(amount - answered) / (4 * MAX_SLOTS) for amount, answered in pairs)
