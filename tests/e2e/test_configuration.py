# SPDX-License-Identifier: Apache-2.0
"""What `colonnade up` is told: on the command line, and in the file in its state folder."""

from pathlib import Path

import pytest

from colonnade.cli.local import folders
from colonnade.cli.local.system import running
from colonnade.domain.errors import Unavailable
from colonnade.runtime.config import read_config


async def test_the_file_in_the_state_folder_is_kept_and_the_command_line_wins(
    tmp_path: Path,
) -> None:
    file = folders.config_file(tmp_path)
    file.write_text('log_level = "WARNING"\nspares = 3\n[heartbeats]\nstale_s = 5.0\n')
    async with running("--spares", "0", state=tmp_path) as system:
        config = read_config(file)
    assert (config.log_level, config.heartbeats.stale_s, config.spares) == ("WARNING", 5.0, 0)
    assert system.left == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spares = 'two'", r"Expected `int`, got `str` - at `\$.spares`"),
        ("spare = 2", "unknown field `spare`"),
        ("spares =", "Invalid value"),
    ],
)
async def test_a_file_that_cannot_be_understood_is_named_with_the_place(
    tmp_path: Path, text: str, said: str
) -> None:
    folders.config_file(tmp_path).write_text(text)
    with pytest.raises(Unavailable, match=said):
        async with running(state=tmp_path):
            pass
