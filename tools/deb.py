# SPDX-License-Identifier: Apache-2.0
"""`make deb`: a package for Debian and its kin, of what is committed.

It has the wheel with its dependencies, in the versions of requirements.lock, as a virtual
environment of the distribution's own Python in /opt/colonnade, and `colonnade` on the path. What
systemd needs is written by `colonnade init`, as ever. Invariant: no file names the folder that the
package was made in. Needs a package index, dpkg-deb and the distribution's python3.
"""

import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import colonnade
from tools.release import Refused, built, committed, output, run, say
from tools.tables import CODE

INTERPRETER: Final = Path("/usr/bin/python3")
PLACE: Final = Path("opt/colonnade")
SCRIPTS: Final = Path(__file__).with_name("debian")
CONTROL: Final = """\
Package: colonnade
Version: {version}
Architecture: {architecture}
Maintainer: The Colonnade authors <colonnade@localhost>
Installed-Size: {kib}
Depends: python3 (>= {minor}), python3 (<< {next_minor}~), util-linux, passwd
Recommends: systemd (>= 249), nftables, keepalived
Section: net
Priority: optional
Description: load balancing as a service
 The Octavia v2 API over real HAProxy, on one machine or many.
 After it is installed: colonnade init
"""
WANTED: Final = ("usr/bin/colonnade", f"{PLACE}/bin/colonnade", "usr/share/doc/colonnade/copyright")


def package(root: Path) -> Path:
    """The file that was made, in dist/. Raises Refused."""
    for program in (INTERPRETER, Path("/usr/bin/dpkg-deb")):
        if not program.exists():
            raise Refused(f"{program} is missing: this is made on Debian or its kin")
    with tempfile.TemporaryDirectory(prefix="colonnade-deb-") as name:
        folder = Path(name)
        source = committed(root, folder / "source")
        wheel = next(file for file in built(source, folder) if file.suffix == ".whl")
        tree = folder / "tree"
        _fill(tree, wheel, source)
        _check(tree, folder)
        return _packed(tree, folder, root / "dist")


def _fill(tree: Path, wheel: Path, source: Path) -> None:
    """All files that the package has."""
    say("installing the wheel", "deb")
    place = tree / PLACE
    run(tree.parent, INTERPRETER, "-m", "venv", "--without-pip", place)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", place / "bin/python"]
    words = ("install", "-q", "--disable-pip-version-check", "--no-compile")
    run(tree.parent, *pip, *words, "--constraint", source / "requirements.lock", f"{wheel}[local]")
    for noted in place.rglob("direct_url.json"):  # where the wheel lay
        noted.unlink()
    for path in _texts(place):
        path.write_text(path.read_text().replace(str(tree), ""))
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/colonnade").symlink_to(Path("/") / PLACE / "bin/colonnade")
    told = tree / "usr/share/doc/colonnade"
    told.mkdir(parents=True)
    shutil.copy(source / "LICENSE", told / "copyright")


def _texts(place: Path) -> Iterator[Path]:
    """What a virtual environment writes its own place into."""
    yield place / "pyvenv.cfg"
    for path in (place / "bin").iterdir():
        if not path.is_symlink():
            yield path


def _check(tree: Path, folder: Path) -> None:
    """Raises Refused for what would not work elsewhere."""
    for name in WANTED:
        if not (tree / name).is_symlink() and not (tree / name).exists():
            raise Refused(f"the package lacks {name}")
    for path in tree.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        if str(folder).encode() in path.read_bytes():
            raise Refused(f"{path.relative_to(tree)} names the folder that it was made in")
        if not path.stat().st_mode & stat.S_IROTH:
            raise Refused(f"{path.relative_to(tree)} can be read by its owner only")


def _packed(tree: Path, folder: Path, dist: Path) -> Path:
    say("packing", "deb")
    architecture = output(folder, "dpkg", "--print-architecture").strip()
    said = "import sys; print(*sys.version_info[:2])"
    major, minor = map(int, output(folder, INTERPRETER, "-c", said).split())
    kib = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    (tree / "DEBIAN").mkdir()
    control = CONTROL.format(
        version=colonnade.__version__,
        architecture=architecture,
        kib=kib,
        minor=f"{major}.{minor}",
        next_minor=f"{major}.{minor + 1}",
    )
    (tree / "DEBIAN/control").write_text(control)
    for script in SCRIPTS.iterdir():
        Path(shutil.copy(script, tree / "DEBIAN")).chmod(0o755)
    dist.mkdir(exist_ok=True)
    file = dist / f"colonnade_{colonnade.__version__}_{architecture}.deb"
    run(folder, "dpkg-deb", "--build", "--root-owner-group", "-Zgzip", tree, file)
    return file


def main() -> int:
    try:
        file = package(CODE.parent)
    except Refused as refused:
        say(str(refused), "deb")
        return 1
    print(file.relative_to(CODE.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
