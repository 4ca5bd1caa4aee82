# SPDX-License-Identifier: Apache-2.0
"""`python -m colonnade.agent`: what the amphora's process 1 starts."""

from pathlib import Path

from colonnade.agent.folder import Folder
from colonnade.agent.heartbeat import restart_notice
from colonnade.protocol import paths

if __name__ == "__main__":
    drive, folder = Path(paths.CONFIG_DRIVE), Folder(Path(paths.ROOT))
    is_told = restart_notice.say_so(drive, folder)
    from colonnade.agent.main import main  # takes long to load: see `restart_notice`

    if is_told:
        restart_notice.say_again(drive, folder)
    main()
