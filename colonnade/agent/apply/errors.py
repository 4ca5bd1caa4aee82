# SPDX-License-Identifier: Apache-2.0
"""Why a bundle is not served. What was served before goes on."""


class Refused(Exception):
    """The bundle will not do; the text is haproxy's."""


class NotNow(Exception):
    """The bundle may do later: an interface is not there yet."""


class Older(Exception):
    def __init__(self, generation: int) -> None:
        super().__init__(f"generation {generation} is served already")
        self.generation = generation
