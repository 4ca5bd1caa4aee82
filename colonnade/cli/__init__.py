# SPDX-License-Identifier: Apache-2.0
"""The command line: one machine's system, every noun of the API, files of load balancers."""
