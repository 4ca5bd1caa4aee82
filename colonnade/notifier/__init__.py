# SPDX-License-Identifier: Apache-2.0
"""Sends events to the webhooks that want them: signed, in order, and again until they are taken."""
