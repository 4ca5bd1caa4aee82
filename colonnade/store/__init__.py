# SPDX-License-Identifier: Apache-2.0
"""The database: all SQL, the schema and its migrations, the queue of work."""
