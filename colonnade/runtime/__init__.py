# SPDX-License-Identifier: Apache-2.0
"""What every process needs, with no word of the domain: clock, configuration, TLS, sockets."""
