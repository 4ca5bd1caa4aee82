# SPDX-License-Identifier: Apache-2.0
"""What controllers, receivers and amphorae say to each other, as bytes and messages. No sockets."""
