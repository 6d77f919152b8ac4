"""Colours that mean the same in every figure.

Okabe and Ito's palette, safe for colour-blind readers: https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

from typing import Literal

Dash = Literal["solid", "dash", "dot"]
SERVICES = {
    "productpage": "#0072B2",
    "details": "#E69F00",
    "reviews": "#009E73",
    "ratings": "#CC79A7",
    "istio-ingressgateway": "#D55E00",
    "httpbin": "#56B4E9",
}
OTHER = "#888888"
INK = "#7A7A7A"  # text: its contrast is the same, 4.3 to 1, on JupyterLab's white and on its dark theme
WRONG = "#D55E00"
ALLOWED, DENIED = "#0072B2", "#D9D9D9"
DASHES: tuple[Dash, ...] = ("solid", "dash", "dot")  # versions of one service share its colour


def colour(name: str) -> str:
    """The colour of a service, or of a workload or a pod of it."""
    return next((value for service, value in SERVICES.items() if name.startswith(service)), OTHER)


def dash(version: str) -> Dash:
    """How a version's line is drawn: v1 solid, v2 dashed, v3 dotted; solid where there is no number."""
    number = version.removeprefix("v")
    return DASHES[(int(number) - 1) % len(DASHES)] if number.isdecimal() else DASHES[0]


def shade(share: float) -> str:
    """A blue for a share from 0 (light) to 1 (dark)."""
    light, dark = (222, 235, 247), (8, 69, 148)
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in zip(light, dark, strict=True))


def rgb(value: str) -> tuple[int, int, int]:
    """Red, green and blue of `#RRGGBB`, each 0 to 255."""
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def contrast(one: str, other: str) -> float:
    """1 (none) to 21: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def ink_on(fill: str) -> str:
    """What is more legible on a colour: white, or nearly black."""
    return max("#FFFFFF", "#1A1A1A", key=lambda ink: contrast(ink, fill))


def _luminance(value: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in rgb(value))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
