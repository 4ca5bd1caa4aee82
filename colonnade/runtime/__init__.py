# SPDX-License-Identifier: Apache-2.0
"""What every process needs and no noun is in: clock, configuration, TLS, sockets, ids of processes."""
