"""Fit the arm's parameters to logs: damping, friction loss, servo gains, latency of commands.

Nonlinear least squares (`scipy.optimize.least_squares`, trust region within bounds) on the joint
positions of whole replays, with a weak prior: at everyday speeds a stiffer servo with more damping
trails a command just as a softer one with less, and what the logs cannot tell apart should stay
near the nominal value instead of running to a bound. Intervals are those of the posterior, from the
Jacobian at the optimum and Student's t, widened because a replay's neighbouring errors are alike,
and by how far searches from several starts end apart: a servo that reaches its effort limit a
physics step sooner jumps, so the cost is rough, and a search ends near its minimum, not at it.

`mujoco.sysid` does much the same on `mujoco.rollout`, which is used here, too; it needs five more
packages (plotly among them) and knows neither priors nor that errors are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray

from sim import robot
from sim.sim2real.arm import JOINTS, ArmParameters, ArmSimulation, parameter_names
from sim.sim2real.gap import Gap, closed_share, pooled, tracking_gap
from sim.sim2real.logs import Log, LogError

CONFIDENCE = 0.95
# Bounds of the search, per kind of parameter.
DAMPING_LIMIT = 100.0  # [N m s/rad]
FRICTION_LIMIT = 20.0  # [N m]
STIFFNESS_FACTORS = (0.05, 5.0)  # of the nominal gain
LATENCY_LIMIT_S = 0.3
SAME_RUN_RAD = 1e-4  # two runs of a robot differ by more, though told the same
MIN_MOTION_RAD = 0.05  # a joint that moves less tells nothing about itself
# The prior: normal around the nominal values, with these standard deviations.
PRIOR_DAMPING = 20.0  # [N m s/rad]
PRIOR_FRICTION_SHARE = 3.0  # of the nominal value
PRIOR_STIFFNESS_SHARE = 0.3  # of the nominal value
PRIOR_LATENCY_S = 0.1
PRIOR_ERROR_RAD = 0.005  # of one independent measurement: what the prior is weighed against
FIRST_STEP = 0.02  # of a parameter's scale: differences before any Jacobian is known
STEP_SHARE = 0.5  # of the errors: how much a difference's step should change them
START_SHARE = 0.5  # of the parameters' scales: how far the other starts are from the first end
WORTHWHILE_GAIN = 0.02  # of the cost; a search that begins again and gains less has arrived
TOLD_SHARE = 0.5  # a posterior narrower than this share of the prior comes from the logs


@dataclass(frozen=True)
class Settings:
    """How the search goes."""

    max_iterations: int = 40  # of each search
    starts: int = 3  # searches; the first from the nominal parameters
    tolerance: float = 1e-3  # of the cost and of the parameters, relative
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if self.max_iterations < 1:
            raise LogError(f"max_iterations: expected 1 or more, got {self.max_iterations}")
        if self.starts < 2:
            raise LogError(f"starts: expected 2 or more, got {self.starts}")
        if not 0.5 <= self.confidence < 1.0:
            raise LogError(f"confidence: expected 0.5 to below 1, got {self.confidence}")


@dataclass(frozen=True)
class Identification:
    """What the logs say about the arm. Vectors as `ArmParameters.to_vector`."""

    estimate: ArmParameters
    half_width: NDArray[np.float64]  # (22,), of the interval
    confidence: float
    correlation_samples: float  # neighbouring errors count as one
    before: Gap  # on the logs of the fit, with nominal parameters
    after: Gap
    held_out_before: Gap | None
    held_out_after: Gap | None
    iterations: int  # of all searches
    converged: bool  # whether every search ended by itself, not by its number of iterations

    @property
    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Low and high (22,) of every parameter, within what is physical."""
        vector, (lower, upper) = self.estimate.to_vector(), _bounds()
        low = np.maximum(vector - self.half_width, lower)
        return low, np.minimum(vector + self.half_width, upper)

    @property
    def told(self) -> NDArray[np.bool_]:
        """(22,): whether the logs, not the prior, say what the parameter is."""
        prior = scipy.stats.norm.ppf(0.5 + self.confidence / 2) * _prior_std()
        return self.half_width < TOLD_SHARE * prior

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        rows = zip(
            parameter_names(), ArmParameters.nominal().to_vector(), self.estimate.to_vector(),
            low, high, self.told, strict=True,
        )  # fmt: skip
        result: dict[str, Any] = {
            "parameters": [
                {
                    "name": name,
                    "nominal": float(nominal),
                    "estimate": float(value),
                    "low": float(low_value),
                    "high": float(high_value),
                    "told_by_logs": bool(told),
                }
                for name, nominal, value, low_value, high_value, told in rows
            ],
            "confidence": self.confidence,
            "correlation_samples": self.correlation_samples,
            "iterations": self.iterations,
            "converged": self.converged,
            "fit": _closing(self.before, self.after),
            "held_out": None,
        }
        if self.held_out_before is not None and self.held_out_after is not None:
            result["held_out"] = _closing(self.held_out_before, self.held_out_after)
        return result


def identify(
    logs: Sequence[Log],
    held_out: Sequence[Log] = (),
    settings: Settings = Settings(),
    on_iteration: Callable[[int, float], None] = lambda number, rmse_rad: None,
) -> Identification:
    """Fit to `logs`, starting from the nominal parameters and near the first search's end.

    The estimate is that of the search with the least cost; `held_out` is what it is measured on.
    `on_iteration` gets the number of the iteration and the gap's RMSE [rad]. Raises `LogError` for
    joints that never move, and for a log that is in both lists.
    """
    _check(logs, held_out)
    simulation = ArmSimulation()
    nominal = ArmParameters.nominal()
    problem = _Problem(simulation, logs, on_iteration)
    ends = [_search(problem, problem.start, settings)]
    rng = np.random.default_rng(0)
    for _ in range(settings.starts - 1):
        moved = ends[0].vector + START_SHARE * problem.scale * rng.standard_normal(
            len(ends[0].vector)
        )
        ends.append(_search(problem, problem.within(moved), settings))
    best = min(ends, key=lambda end: end.cost)
    estimate = ArmParameters.from_vector(best.vector)
    errors, jacobian = best.residual[: -problem.prior_rows], best.jacobian[: -problem.prior_rows]
    samples = correlation_samples(problem.split(errors))
    half_width = np.hypot(
        half_widths(errors, jacobian, samples, _prior_std(), settings.confidence),
        spread([end.vector for end in ends], settings.confidence),
    )

    def gap(of: Sequence[Log], parameters: ArmParameters) -> Gap:
        return pooled([tracking_gap(simulation, log, parameters) for log in of])

    return Identification(
        estimate=estimate,
        half_width=half_width,
        confidence=settings.confidence,
        correlation_samples=samples,
        before=gap(logs, nominal),
        after=gap(logs, estimate),
        held_out_before=gap(held_out, nominal) if held_out else None,
        held_out_after=gap(held_out, estimate) if held_out else None,
        iterations=sum(end.iterations for end in ends),
        converged=all(end.converged for end in ends),
    )


def spread(ends: Sequence[NDArray], confidence: float = CONFIDENCE) -> NDArray[np.float64]:
    """(p,): how far a search ends from where it should, from the ends (p,) of several.

    Student's t times their standard deviation, as for one measurement more.
    """
    return scipy.stats.t.ppf(0.5 + confidence / 2, len(ends) - 1) * np.std(ends, axis=0, ddof=1)


def half_widths(
    residual: NDArray,
    jacobian: NDArray,
    samples: float,
    prior_std: NDArray,
    confidence: float = CONFIDENCE,
) -> NDArray[np.float64]:
    """Half the width (p,) of each parameter's interval.

    Covariance (J^T J / v + diag(1 / prior_std^2))^-1, times Student's t. v = s^2 * `samples`, with
    s^2 = r^T r / n * m / (m - p) and the m = n / `samples` errors that count as independent: the
    linear approximation of Seber and Wild, Nonlinear Regression (1989), section 2.1, with a prior.
    """
    count, parameters = jacobian.shape
    independent = count / samples
    if independent <= parameters + 1:
        raise LogError(
            f"logs: expected more than {parameters + 1} independent measurements for {parameters} "
            f"parameters, got about {independent:.0f}; give longer logs"
        )
    variance = (residual @ residual) / count * independent / (independent - parameters) * samples
    # In units of the prior, so that a stiffness and a latency can stand in one matrix.
    scaled = jacobian * prior_std  # (n, p)
    information = scaled.T @ scaled / max(variance, 1e-30) + np.eye(parameters)
    spread = np.sqrt(np.diag(np.linalg.inv(information))) * prior_std
    return scipy.stats.t.ppf(0.5 + confidence / 2, independent - parameters) * spread


def correlation_samples(errors: Sequence[NDArray]) -> float:
    """How many neighbouring errors count as one: the integrated autocorrelation time, 1 or more.

    `errors` are series (n, 7), one for each log. 1 + 2 sum of the autocorrelation up to its first
    value below 0 (the initial positive sequence of Geyer 1992), pooled over joints and logs. A
    replay's errors are smooth; taking each for independent would make intervals far too narrow.
    """
    longest = min(len(series) for series in errors) // 2
    total = np.zeros(max(1, longest))
    for series in errors:
        centred = series - series.mean(axis=0)
        size = 2 ** int(np.ceil(np.log2(2 * len(series))))
        spectrum = np.abs(np.fft.rfft(centred, size, axis=0)) ** 2
        total += np.fft.irfft(spectrum, size, axis=0)[: len(total)].sum(axis=1)
    if total[0] <= 0:
        return 1.0
    correlation = total / total[0]
    negative = np.flatnonzero(correlation < 0)
    end = int(negative[0]) if len(negative) else len(correlation)
    return float(max(1.0, 1.0 + 2.0 * correlation[1:end].sum()))


@dataclass(frozen=True)
class _End:
    """Where one search ended."""

    vector: NDArray[np.float64]  # (p,)
    cost: float
    residual: NDArray[np.float64]  # (n + p,)
    jacobian: NDArray[np.float64]  # (n + p, p)
    iterations: int
    converged: bool


def _search(problem: _Problem, start: NDArray, settings: Settings) -> _End:
    """Least squares, begun again where it ended for as long as that gains something.

    On a rough cost the trust region shrinks to nothing before the minimum.
    """
    iterations, cost, vector = 0, np.inf, start
    while True:
        solution = scipy.optimize.least_squares(
            problem.residual,
            vector,
            problem.jacobian,
            bounds=(problem.lower, problem.upper),
            x_scale=problem.scale,
            ftol=settings.tolerance,
            xtol=settings.tolerance,
            gtol=None,
            max_nfev=settings.max_iterations - iterations,
        )
        iterations += solution.nfev
        converged = solution.status > 0 and solution.cost > (1.0 - WORTHWHILE_GAIN) * cost
        cost, vector = solution.cost, solution.x
        if converged or iterations >= settings.max_iterations:
            return _End(vector, cost, solution.fun, solution.jac, iterations, converged)


class _Problem:
    """Residuals [rad] of all logs one after another, and how they change with the parameters."""

    def __init__(
        self,
        simulation: ArmSimulation,
        logs: Sequence[Log],
        on_iteration: Callable[[int, float], None],
    ) -> None:
        self._simulation, self._logs = simulation, logs
        self._on_iteration = on_iteration
        self._iteration = 0
        self.lower, self.upper = _bounds()
        nominal = ArmParameters.nominal()
        self.scale = np.concatenate(
            [
                np.full(JOINTS, 5.0),  # [N m s/rad]
                nominal.friction_loss,
                0.2 * nominal.stiffness,
                [0.02],  # [s]
            ]
        )
        self.start = self.within(nominal.to_vector())
        self._last: tuple[NDArray, float] | None = None  # scaled Jacobian, norm of the errors [rad]
        self._prior_mean, self._prior_std = nominal.to_vector(), _prior_std()
        self.prior_rows = len(self._prior_mean)

    def within(self, vector: NDArray) -> NDArray[np.float64]:
        """Off the bounds, where the search could not move."""
        room = FIRST_STEP * self.scale
        return np.clip(vector, self.lower + room, self.upper - room)

    def residual(self, vector: NDArray) -> NDArray[np.float64]:
        """(n + p,): errors [rad] of the logs, then how far the parameters are from the prior."""
        prior = PRIOR_ERROR_RAD * (vector - self._prior_mean) / self._prior_std
        return np.concatenate([self._residuals([vector])[0], prior])

    def jacobian(self, vector: NDArray) -> NDArray[np.float64]:
        """(n + p, p), by differences to whichever side has room."""
        steps = self._steps(vector)
        forward, backward = (
            np.array([self._room(vector, sign * step) for step in steps]) for sign in (1, -1)
        )
        shares = np.where(forward >= backward, forward, -backward)  # (p,)
        moved = vector + shares[:, None] * steps  # (p, p)
        base, *others = self._residuals([vector, *np.clip(moved, self.lower, self.upper)])
        self._iteration += 1
        self._on_iteration(self._iteration, float(np.sqrt(np.mean(base**2))))
        along_steps = (np.stack(others) - base) / shares[:, None]  # (p, n)
        jacobian = np.vstack(
            [np.linalg.solve(steps, along_steps).T, np.diag(PRIOR_ERROR_RAD / self._prior_std)]
        )
        self._last = (jacobian * self.scale, float(np.linalg.norm(base)))
        return jacobian

    def _steps(self, vector: NDArray) -> NDArray[np.float64]:
        """(p, p), a step in each row: along a parameter, or along the last Jacobian's valleys.

        Along a parameter a step must be short, and jumps of the errors within it hide how little
        they change along a valley (more damping, less friction). So steps go along the singular
        vectors, each as far as changes the errors by a share of what they are. What is at a bound
        stays by itself.
        """
        steps = np.diag(FIRST_STEP * self.scale)
        if self._last is None:
            return steps
        jacobian, norm = self._last
        free = np.flatnonzero(vector == self.within(vector))
        squares, directions = np.linalg.eigh(jacobian[:, free].T @ jacobian[:, free])
        lengths = np.clip(STEP_SHARE * norm / np.sqrt(np.maximum(squares, 1e-30)), 1e-6, 1.0)
        steps[np.ix_(free, free)] = (directions * lengths).T * self.scale[free]
        return steps

    def _room(self, vector: NDArray, step: NDArray) -> float:
        """The share of `step` (p,) that stays within the bounds, at most 1."""
        bound = np.where(step > 0, self.upper, self.lower)
        moving = step != 0
        return float(min(1.0, np.min((bound - vector)[moving] / step[moving])))

    def split(self, residual: NDArray) -> list[NDArray[np.float64]]:
        """The errors of the logs as one (n, 7) for each."""
        lengths = [log.joint_positions.size for log in self._logs]
        parts = np.split(residual, np.cumsum(lengths)[:-1])
        return [part.reshape(-1, JOINTS) for part in parts]

    def _residuals(self, vectors: Sequence[NDArray]) -> NDArray[np.float64]:
        parameters = [ArmParameters.from_vector(vector) for vector in vectors]
        return np.concatenate(
            [
                (self._simulation.replay(log, parameters) - log.joint_positions).reshape(
                    len(parameters), -1
                )
                for log in self._logs
            ],
            axis=1,
        )  # (v, n)


def _prior_std() -> NDArray[np.float64]:
    """(22,), around the nominal values."""
    nominal = ArmParameters.nominal()
    return np.concatenate(
        [
            np.full(JOINTS, PRIOR_DAMPING),
            PRIOR_FRICTION_SHARE * nominal.friction_loss,
            PRIOR_STIFFNESS_SHARE * nominal.stiffness,
            [PRIOR_LATENCY_S],
        ]
    )


def _bounds() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stiffness = ArmParameters.nominal().stiffness
    low, high = STIFFNESS_FACTORS
    lower = np.concatenate([np.zeros(2 * JOINTS), low * stiffness, [0.0]])
    upper = np.concatenate(
        [
            np.full(JOINTS, DAMPING_LIMIT),
            np.full(JOINTS, FRICTION_LIMIT),
            high * stiffness,
            [LATENCY_LIMIT_S],
        ]
    )
    return lower, upper


def _check(logs: Sequence[Log], held_out: Sequence[Log]) -> None:
    if not logs:
        raise LogError("logs: expected at least one to fit to, got none")
    both = sorted({other.name for other in held_out for log in logs if _same_run(log, other)})
    if both:
        raise LogError(
            f"held-out logs: expected others than those of the fit, got {', '.join(both)}"
        )
    moved = np.max([np.ptp(log.joint_positions, axis=0) for log in logs], axis=0)  # (7,)
    still = [
        name for name, span in zip(robot.JOINT_NAMES, moved, strict=True) if span < MIN_MOTION_RAD
    ]
    if still:
        raise LogError(
            f"logs: expected every joint to move by {MIN_MOTION_RAD} rad or more; "
            f"{', '.join(still)} did not"
        )


def _same_run(first: Log, second: Log) -> bool:
    """Whether both tell of one run, by what the encoders said and not by names.

    One may be sampled otherwise than the other, or be cut off at its end: the finer one is asked
    what it says at the stamps of the coarser.
    """
    end_s = min(first.duration_s, second.duration_s)
    coarse, fine = sorted((first, second), key=lambda log: np.sum(log.stamps_s <= end_s))
    shared = coarse.stamps_s <= end_s
    apart = [
        np.abs(np.interp(coarse.stamps_s[shared], fine.stamps_s, there) - here[shared]).max()
        for here, there in zip(coarse.joint_positions.T, fine.joint_positions.T, strict=True)
    ]
    return max(apart) < SAME_RUN_RAD


def _closing(before: Gap, after: Gap) -> dict[str, Any]:
    return {
        "before": before.as_json(),
        "after": after.as_json(),
        "closed_joints": closed_share(before.rmse_rad, after.rmse_rad),
        "closed_tool": closed_share(before.tool_rmse_m, after.tool_rmse_m),
    }
