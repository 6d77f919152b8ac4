"""The course beside two others: the exam that most people sit after such a course, and the tasks in Istio's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.course import agenda, labs
from labkit.course.lab import PATHS, Lab
from labkit.settings import ISTIO_DOCS

if TYPE_CHECKING:
    import pandas as pd

# Domains of the Istio Certified Associate since August 2025, each with its share of the marks in per cent:
# https://training.linuxfoundation.org/istio-certified-associate-ica-program-changes/
SHARES = {"installation": 20, "traffic": 35, "security": 25, "troubleshooting": 20}
# What a domain asks for, in short
EXAM: dict[str, tuple[str, ...]] = {
    "installation": ("istioctl or Helm", "sidecar or ambient", "customizing", "upgrading"),
    "traffic": ("ingress and egress", "routing", "destination rules", "traffic shifting", "external workloads",
                "resilience", "fault injection"),
    "security": ("authorization", "authentication", "TLS at the edge"),
    "troubleshooting": ("configuration", "control plane", "data plane"),
}  # fmt: skip
BY_FAULT = "troubleshooting: configuration"  # what a planted fault practises


def frame() -> pd.DataFrame:
    """The labs in their order: lab, title, way (the shortest that it lies on), exam (its topics), page."""
    import pandas as pd

    rows = [(lab.number, lab.title, lab.path, ", ".join(topics(lab)), pages(lab)[0]) for lab in labs.LABS]
    return pd.DataFrame(rows, columns=["lab", "title", "way", "exam", "page"])


def ways() -> dict[str, tuple[tuple[str, ...], int]]:
    """The three ways through the course: the labs on each, and the minutes that they take together."""
    on = {path: [lab for lab in labs.LABS if PATHS.index(lab.path) <= place] for place, path in enumerate(PATHS)}
    return {
        path: (tuple(lab.number for lab in chosen), sum(map(agenda.minutes, chosen))) for path, chosen in on.items()
    }


def topics(lab: Lab) -> tuple[str, ...]:
    """What a lab practises of the exam, as `domain: topic`."""
    by_fault = [BY_FAULT] if any(exercise.fault for exercise in lab.exercises) else []
    return tuple(dict.fromkeys([*lab.exam, *by_fault]))


def pages(lab: Lab) -> tuple[str, ...]:
    """Istio's own pages on what a lab is about."""
    return tuple(ISTIO_DOCS + page for page in lab.pages)


def uncovered() -> tuple[str, ...]:
    """The exam's topics that no lab practises."""
    covered = {topic for lab in labs.LABS for topic in topics(lab)}
    return tuple(each for domain, of in EXAM.items() for topic in of if (each := f"{domain}: {topic}") not in covered)
