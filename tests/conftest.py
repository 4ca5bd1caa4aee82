# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may ask for, by name; who runs beside whom; and the rule on skips.

Where there are several workers, tests that share what one of their module made stay together
(`--dist loadgroup`), and all others go one by one to whoever is idle.

A skip is always printed with its reason (`-ra`). Where CI is set, only those listed here pass: a
test that silently stopped running would promise what nobody checks.
"""

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.database import database, database_url, databases
from tests.hanging import pytest_runtest_protocol

__all__ = ["database", "database_url", "databases", "pytest_runtest_protocol"]

# How long an example takes says something of the machine, and nothing of what is tested.
hypothesis.settings.register_profile("colonnade", deadline=None)
hypothesis.settings.load_profile("colonnade")

# Reasons, not tests: what a machine may lack without anybody having to look at it.
SKIPS_ALLOWED_IN_CI = (
    "log servers not installed",
    "OpenStack services not installed",
    "needs nft",
    "needs pebble",
    "needs bird",
    "needs systemd",
    "root may",  # what only an ordinary user is refused
    "needs root",
    "a route of the host is root's",
    "the other tests here run as an ordinary user",
    "the Python of this test cannot be read by another user",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def _shares(item: pytest.Function) -> bool:
    """Whether its module has something made once, for several tests."""
    known = item._fixtureinfo.name2fixturedefs.values()
    return any(one.scope in {"module", "package"} for found in known for one in found)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    yield
    for reason in _forbidden(terminalreporter):
        terminalreporter.write_line(f"CI does not allow this skip: {reason}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _forbidden(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _forbidden(reporter: Any) -> list[str]:
    if not os.environ.get("CI"):
        return []
    reasons = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    return [r for r in reasons if not any(allowed in r for allowed in SKIPS_ALLOWED_IN_CI)]
