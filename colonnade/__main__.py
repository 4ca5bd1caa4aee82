# SPDX-License-Identifier: Apache-2.0
"""`python -m colonnade` is the `colonnade` command."""

from colonnade.cli.main import main

main()
