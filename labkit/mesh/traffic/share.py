"""A share that was counted, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from labkit.errors import LabError


@dataclass(frozen=True, repr=False)
class Share:
    """`successes` of `total`; from `low` to `high` reaches the Wilson score interval, which holds the true share with
    this `confidence` (all three 0 to 1). `0.2 in share` asks whether the interval holds a share.

    https://doi.org/10.1080/01621459.1927.10502953
    """

    successes: int
    total: int
    confidence: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself, 0 to 1."""
        return self.successes / self.total

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __repr__(self) -> str:
        """`20 % ± 5 %`: the share, and how far the interval's farther end is from it."""
        off = max(self.high - self.value, self.value - self.low)
        digits = 0 if off >= 0.01 else 1
        return f"{self.value * 100:.{digits}f} % ± {off * 100:.{digits}f} %"


def share(successes: int, total: int, confidence: float = 0.95) -> Share:
    """What share `successes` are of `total`, with its Wilson interval. Raises LabError where there is none to tell."""
    if not 0 <= successes <= total or total == 0:
        raise LabError(
            f"{successes} of {total} is no share.",
            "there must be at least one, and no more successes than that",
            "count requests first: `mesh.traffic.load(...)` or `mesh.bookinfo.page(times=50)`",
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z * z / total
    centre = (successes + z * z / 2) / total / shrink
    half = z / shrink * sqrt(successes * (total - successes) / total**3 + (z / total) ** 2 / 4)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == total else centre + half
    return Share(int(successes), int(total), confidence, low, high)
