# SPDX-License-Identifier: Apache-2.0
"""What a load balancer may be asked to do, decided before it is stored: amphora and noop."""
