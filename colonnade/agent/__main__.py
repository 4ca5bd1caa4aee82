# SPDX-License-Identifier: Apache-2.0
"""`python -m colonnade.agent`: what the amphora's process 1 starts."""

from colonnade.agent.main import main

if __name__ == "__main__":
    main()
