# SPDX-License-Identifier: Apache-2.0
"""Load balancers of a running Octavia: looked at, taken over with ids and VIPs, given back."""
