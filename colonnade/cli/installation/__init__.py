# SPDX-License-Identifier: Apache-2.0
"""A system that systemd runs: init, uninstall, its units and what they start."""
