# SPDX-License-Identifier: Apache-2.0
"""Calls out: sends events to the webhooks that want them, and orders certificates."""
