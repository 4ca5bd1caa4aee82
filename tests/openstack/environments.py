# SPDX-License-Identifier: Apache-2.0
"""The real services of a cloud, each in a virtual environment of its own. `make lab` installs them
(some minutes, once), and builds the image of amphorae; tests that find none are skipped by name."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.environments import ROOT, environment
from tests.openstack import amphora_image

HERE = Path(__file__).parent
NOT_INSTALLED = "OpenStack services not installed (make lab)"
SERVICES: dict[str, Sequence[str]] = {
    "keystone": ("keystone", "gunicorn"),
    "neutron": ("neutron", "gunicorn"),
    "placement": ("openstack-placement", "gunicorn"),
    "glance": ("glance", "gunicorn"),
    "nova": ("nova", "gunicorn", "pymysql"),
    "barbican": ("barbican", "gunicorn"),
    "octavia": ("octavia", "gunicorn", "pymysql"),
    "swift": ("swift", "keystonemiddleware"),
    "messaging": ("oslo.messaging",),
}


def install(name: str) -> Path:
    """The folder of the service's programs."""
    pins = HERE / f"{name}-constraints.txt"
    return environment(name, SERVICES[name], constraints=pins)


def installed(name: str) -> Path:
    """The same, or the test that asks is skipped."""
    if not (ROOT / f".venv-{name}" / "complete").exists():
        pytest.skip(NOT_INSTALLED)
    return install(name)


def main() -> None:
    for name in SERVICES:
        install(name)
    amphora_image.build()


if __name__ == "__main__":
    main()
