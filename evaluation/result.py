"""What a metric returns, as a table for people and as JSON."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import UserError

if TYPE_CHECKING:
    from evaluation.registry import Metric
    from metrics.bootstrap import Interval


@dataclass(frozen=True)
class Row:
    """A line of the table: a name, its value and how sure it is.

    interval: {"low", "high", "of"}, or {"std", "of"} and, where it is known, "standard_error".
    """

    name: str
    value: float
    interval: dict[str, Any] | None = None


@dataclass(frozen=True)
class Result:
    """rows[0] is the figure that was asked for; `real` the same measure of real images, None where it has none."""

    rows: list[Row]
    real: Row | None
    protocol: dict[str, Any]
    chance: float | None = None
    parts: dict[str, Any] = field(default_factory=dict)  # a breakdown, by name
    warnings: list[str] = field(default_factory=list)  # why the figure may mislead


def bounds(interval: "Interval") -> dict[str, Any]:
    return interval._asdict()


# --- how values are written --------------------------------------------------------------------------------------


def percent(value: float) -> str:
    digits = 2 if 0 < value < 0.0005 else 1  # chance is often below a tenth of a per cent
    return f"{_not_minus_zero(f'{100 * value:.{digits}f}')} %"


def fixed(digits: int) -> Callable[[float], str]:
    return lambda value: _not_minus_zero(f"{value:.{digits}f}")


def scientific(value: float) -> str:
    """Five significant digits; small distances differ in digits that a fixed number of decimals would not show."""
    return _not_minus_zero(f"{value:.4e}")


def _not_minus_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text


def as_json(metric: "Metric", result: Result) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "value": result.rows[0].value,
        "interval": result.rows[0].interval,
        "real": result.real.value if result.real else None,
        "real_interval": result.real.interval if result.real else None,
        "chance": result.chance,
        "rows": [asdict(row) for row in result.rows],
        "parts": result.parts,
        "warnings": result.warnings,
        "protocol": result.protocol,
    }


def table(metric: "Metric", result: Result) -> str:
    """The figures and the protocol, to be read."""
    rows = [*result.rows, *([result.real] if result.real else [])]
    if result.chance is not None:
        rows.append(Row("chance", result.chance))
    width = max(len(row.name) for row in rows) + 2
    lines = [metric.title]
    lines += [
        f"  {row.name:<{width}}{metric.show(row.value):>10}  {_spread(metric, row.interval)}".rstrip()
        for row in rows
    ]
    for part, figures in result.parts.items():
        told = ", ".join(f"{k} {v if isinstance(v, int) else metric.show(v)}" for k, v in figures.items())
        lines.append(f"    {part:<{max(8, len(part) + 2)}}{told}")
    lines += [f"  warning: {warning}" for warning in result.warnings]
    lines.append("protocol")
    lines += [f"  {key}: {_plain(value)}" for key, value in result.protocol.items()]
    return "\n".join(lines)


def _spread(metric: "Metric", interval: dict[str, Any] | None) -> str:
    if interval is None:
        return ""
    if "std" not in interval:
        return f"{metric.show(interval['low'])} to {metric.show(interval['high'])} ({interval['of']})"
    told = f"± {metric.show(interval['std'])} (spread of {interval['of']})"
    if "standard_error" in interval:
        told += f", ± {metric.show(interval['standard_error'])} (standard error of the mean)"
    return told


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- few images --------------------------------------------------------------------------------------------------


def scored(function: Callable[..., Any], *arrays: Any, **settings: Any) -> Any:
    """function(*arrays); its complaint about its arrays (ValueError), told as a user's mistake."""
    try:
        return function(*arrays, **settings)
    except ValueError as error:
        raise UserError(f"{error}; measure more images (--samples) or a larger set") from error
