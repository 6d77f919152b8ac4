"""A share that was counted, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from labkit.errors import LabError

if TYPE_CHECKING:
    import pandas as pd


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
        """`20 %, 95 % interval 15 to 25 %`: as many digits as the interval is worth."""
        digits = 0 if self.high - self.low >= 0.02 else 1
        value, low, high = (f"{share * 100:.{digits}f}" for share in (self.value, self.low, self.high))
        return f"{value} %, {self.confidence * 100:g} % interval {low} to {high} %"


def binomial(total: int, share: float) -> pd.Series:
    """How likely it is that 0, 1, … `total` of so many requests get what each gets with the probability `share`.

    The index is how many, the values are probabilities (0 to 1). https://en.wikipedia.org/wiki/Binomial_distribution
    """
    import pandas as pd

    counts = range(total + 1)
    return pd.Series([comb(total, k) * share**k * (1 - share) ** (total - k) for k in counts], index=counts)


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
