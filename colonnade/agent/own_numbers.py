# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of this process: memory, processor time, open files. Read when asked for."""

import os
import time
from pathlib import Path

from colonnade.protocol.messages import Numbers


def own_numbers() -> Numbers:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Numbers(
        resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        cpu_s=time.process_time(),
        open_files=sum(1 for _ in Path("/proc/self/fd").iterdir()),
    )
