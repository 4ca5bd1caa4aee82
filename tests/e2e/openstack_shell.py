# SPDX-License-Identifier: Apache-2.0
"""Run commands of the openstack client in one process: a JSON list of words a line, answered by a
JSON object with the exit code and what was printed. Starting the client takes a second; a
hundred commands would take two minutes of nothing else. Run by the Python of its environment.
"""

import contextlib
import io
import json
import sys


def main() -> None:
    from openstackclient import shell  # type: ignore[import-not-found]

    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = shell.main(json.loads(line))
            except SystemExit as ended:
                code = ended.code
        answer = {"code": code or 0, "out": out.getvalue(), "err": err.getvalue()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
