# SPDX-License-Identifier: Apache-2.0
"""`python -m colonnade.agent`: what the amphora's process 1 starts."""

from pathlib import Path

from colonnade.agent.folder import Folder
from colonnade.agent.heartbeat import restart_notice
from colonnade.protocol import paths

if __name__ == "__main__":
    root = Path(paths.ROOT)
    places = [(Path(paths.CONFIG_DRIVE), Folder(root))]
    places += [(seat / "config", Folder(seat)) for seat in sorted(root.glob("seats/*"))]
    told = [place for place in places if restart_notice.say_so(*place)]
    from colonnade.agent.main import main  # takes long to load: see `restart_notice`

    for place in told:
        restart_notice.say_again(*place)
    main()
