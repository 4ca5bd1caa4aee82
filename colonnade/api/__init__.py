# SPDX-License-Identifier: Apache-2.0
"""HTTP: the Octavia v2 API for users, and routes for operators. It writes wishes, no more."""
