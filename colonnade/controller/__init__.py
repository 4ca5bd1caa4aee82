# SPDX-License-Identifier: Apache-2.0
"""The reconciler: compares wishes with facts, plans, acts, and records what came of it."""
