# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may ask for, by name."""

from tests.database import database, database_url, databases

__all__ = ["database", "database_url", "databases"]
