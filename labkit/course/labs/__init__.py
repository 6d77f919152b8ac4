"""The labs in their order: one file each, with what its checks look at."""

from __future__ import annotations

from labkit.course.lab import Exercise, Lab
from labkit.course.labs import (
    lab_00_start_here,
    lab_01_what_is_a_service_mesh,
    lab_02_download_istio,
    lab_03_install_profiles,
    lab_04_inject_sidecars,
    lab_05_deploy_bookinfo,
    lab_06_expose_a_gateway,
    lab_07_architecture,
    lab_08_mtls_certificates,
    lab_09_live_telemetry,
    lab_10_staged_rollouts,
    lab_11_resilience,
    lab_12_envoys_features,
    lab_13_dns_proxy,
    lab_14_enterprise_security,
    lab_15_clean_up,
)
from labkit.errors import LabError

LABS: tuple[Lab, ...] = (
    lab_00_start_here.LAB,
    lab_01_what_is_a_service_mesh.LAB,
    lab_02_download_istio.LAB,
    lab_03_install_profiles.LAB,
    lab_04_inject_sidecars.LAB,
    lab_05_deploy_bookinfo.LAB,
    lab_06_expose_a_gateway.LAB,
    lab_07_architecture.LAB,
    lab_08_mtls_certificates.LAB,
    lab_09_live_telemetry.LAB,
    lab_10_staged_rollouts.LAB,
    lab_11_resilience.LAB,
    lab_12_envoys_features.LAB,
    lab_13_dns_proxy.LAB,
    lab_14_enterprise_security.LAB,
    lab_15_clean_up.LAB,
)


def lab(number: str) -> Lab:
    """The lab of a two-digit number. Raises LabError."""
    found = [lab for lab in LABS if lab.number == number]
    if not found:
        known = ", ".join(lab.number for lab in LABS)
        raise LabError(f"There is no lab {number!r}.", f"the labs are {known}", "name one of them, as text: '05'")
    return found[0]


def exercise(number: str) -> Exercise:
    """The exercise known as `05.1`. Raises LabError."""
    of_lab, _, which = number.partition(".")
    if which != "1":
        raise LabError(
            f"There is no exercise {number!r}.", "each lab has one, known as NUMBER.1", f"name it so: '{of_lab}.1'"
        )
    return lab(of_lab).exercise
