# SPDX-License-Identifier: Apache-2.0
"""Build the image that amphorae of a cloud are made of: a disk, and its bill of materials.

Everything is written below a scratch folder by programs that need no root (mmdebstrap makes a user
namespace where the caller is not root), and appears under its name when it is whole. Invariant: the
same packages and the same release give the same bytes.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from hashlib import file_digest
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path
from typing import Final

import msgspec

import colonnade
from colonnade.cli.image import contents, disk, root, sbom
from colonnade.domain.errors import Broken, Invalid

HERE: Final = Path(__file__).parent
SUITE, PYTHON = "trixie", "3.13"  # Debian stable, and the Python that it has
PACKAGES: Final = (
    *("systemd-sysv", "udev", "kmod", "iproute2", "linux-image-cloud-amd64", "busybox-static"),
    *("haproxy", "keepalived", "nftables", "python3", "ca-certificates"),
)
NEEDED: Final[Mapping[str, str]] = {
    "mmdebstrap": "mmdebstrap",
    "tar2sqfs": "squashfs-tools-ng",
    "grub-mkimage": "grub-common",
}
GRUB: Final = Path("/usr/lib/grub/i386-pc")
MODULES: Final = ("biosdisk", "part_msdos", "tar", "linux", "serial", "terminal")
ARGUMENTS: Final = (
    "ro quiet net.ifnames=0 systemd.show_status=no systemd.gpt_auto=no "
    "console=tty0 console=ttyS0,115200"
)
EXCLUDED: Final = (
    *("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/lib/udev/hwdb.d/*"),
    *("/usr/share/doc/*", "/usr/share/bash-completion/*", "/usr/share/i18n/*"),
)
MOMENT: Final = 1767225600  # 2026-01-01: nothing in an image is younger, unless it is said
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
# How it was installed, which differs from one time to the next.
PIPS_OWN: Final = ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json")
DIST_PACKAGES: Final = f"usr/local/lib/python{PYTHON}/dist-packages"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """`wheel`: of the release that the image is to have; None: of the one that builds it."""

    output: Path
    wheel: Path | None = None
    mirrors: Sequence[str] = ()
    packages: Sequence[str] = ()


class Built(msgspec.Struct, frozen=True, kw_only=True):
    image: str
    bill: str
    sha256: str
    bytes: int
    release: str
    debian: str
    haproxy: str
    packages: int


def build(wish: Wish, say: Callable[[str], None]) -> Built:
    """Raises Invalid or Broken."""
    _check_machine()
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", MOMENT))
    surroundings = {**os.environ, "SOURCE_DATE_EPOCH": str(moment), "INITRD": "No", "LC_ALL": "C"}
    with tempfile.TemporaryDirectory(prefix="colonnade-image-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # another user's programs read what is handed to them here
        say("taking the agent and its libraries")
        _agent(wish.wheel, scratch, surroundings)
        say("installing Debian's packages (some minutes)")
        tree = _overlay(scratch, moment)
        _bootstrap(wish, scratch, tree, surroundings)
        say("packing the root")
        taken = _pack(scratch, surroundings)
        say("writing the disk")
        draft = wish.output.with_name(f".{wish.output.name}.new")
        try:
            disk.write(draft, _grub(scratch), _kernel(taken, moment), scratch / "root.squashfs")
            return _finish(wish.output, draft, taken, moment)
        finally:
            draft.unlink(missing_ok=True)


def _check_machine() -> None:
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    missing += [] if (GRUB / "boot.img").exists() else ["grub-pc-bin"]
    if missing:
        words = " ".join(missing)
        raise Invalid(f"an image is built with programs that are not here: apt-get install {words}")
    if os.uname().machine != "x86_64":
        raise Invalid(f"images are of x86_64, and this machine is {os.uname().machine}")


def _agent(wheel: Path | None, scratch: Path, surroundings: Mapping[str, str]) -> None:
    """Below `site`, as the image's Python will find it."""
    wheel = wheel or _own_wheel(scratch, surroundings)
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", scratch / "site", "--no-deps", "--no-compile", "--only-binary=:all:"),
        *("--implementation", "cp", "--python-version", PYTHON),
        *(word for platform in PLATFORMS for word in ("--platform", platform)),
        *("--requirement", HERE / "agent.lock", wheel),
        env=surroundings,
    )
    shutil.rmtree(scratch / "site" / "bin", ignore_errors=True)


def _own_wheel(scratch: Path, surroundings: Mapping[str, str]) -> Path:
    """Of this very program: built from its checkout, or packed again from where it is installed."""
    package = Path(colonnade.__file__).parent
    project = package.parent / "pyproject.toml"
    if project.exists():
        source = scratch / "source"
        shutil.copytree(package, source / package.name, ignore=_no_caches)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(project.with_name(name), source)
        words = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
        _run(*words, "--no-deps", "--wheel-dir", scratch, source, env=surroundings)
        return next(scratch.glob("colonnade-*.whl"))
    place = scratch / f"colonnade-{colonnade.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as packed:
        for file in distribution("colonnade").files or ():
            if file.suffix != ".pyc" and ".." not in file.parts:
                packed.write(file.locate(), str(file))
    return place


def _no_caches(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]


def _overlay(scratch: Path, moment: int) -> Path:
    """The files that no package has, all root's, as an archive."""
    place = scratch / "overlay.tar"
    with tarfile.open(place, "w", format=tarfile.GNU_FORMAT) as made:
        for path in sorted((scratch / "site").rglob("*")):
            name = f"{DIST_PACKAGES}/{path.relative_to(scratch / 'site')}"
            if path.is_file() and path.name not in PIPS_OWN:
                _add(made, _entry(name, moment), path.read_bytes())
        for name, text in contents.files(colonnade.__version__).items():
            _add(made, _entry(name, moment), text.encode())
        for name, target in contents.links().items():
            entry = _entry(name, moment)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
    return place


def _entry(name: str, moment: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = 0o644, moment
    return entry


def _add(archive: tarfile.TarFile, entry: tarfile.TarInfo, content: bytes) -> None:
    entry.size = len(content)
    archive.addfile(entry, BytesIO(content))


def _bootstrap(wish: Wish, scratch: Path, overlay: Path, surroundings: Mapping[str, str]) -> None:
    """`root.tar`: Debian, the overlay in it."""
    excluded = [f"--dpkgopt=path-exclude={path}" for path in EXCLUDED]
    _run(
        *("mmdebstrap", "--quiet", "--variant=essential", "--format=tar"),
        f"--include={','.join((*PACKAGES, *wish.packages))}",
        "--aptopt=Apt::Install-Recommends false",
        *(*excluded, "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
        f"--customize-hook=tar-in {overlay} /",
        f'--customize-hook=sh {HERE / "customize.sh"} "$1"',
        *(SUITE, scratch / "root.tar", *wish.mirrors),
        env=surroundings,
    )


def _pack(scratch: Path, surroundings: Mapping[str, str]) -> root.Taken:
    """`root.squashfs`, and what was taken out."""
    words = ("tar2sqfs", "--quiet", "--force", "--compressor", "zstd", "--comp-extra", "level=9")
    packer = subprocess.Popen(
        [*words, str(scratch / "root.squashfs")], stdin=subprocess.PIPE, env=surroundings
    )
    assert packer.stdin is not None
    with (scratch / "root.tar").open("rb") as source, packer.stdin as target:
        taken = root.pass_on(source, target)
    if packer.wait() != 0:
        raise Broken(f"tar2sqfs ended with {packer.returncode}")
    return taken


def _kernel(taken: root.Taken, moment: int) -> bytes:
    """The archive of the first partition."""
    modules = enumerate(taken.modules.items(), 100)
    first = disk.initrd(
        ("bin", "dev", "modules", "root"),
        {
            "init": (HERE / "initrd-init.sh").read_bytes(),
            "bin/busybox": taken.busybox,
            **{f"modules/{number}-{name}.ko": text for number, (name, text) in modules},
        },
    )
    return disk.archive({"vmlinuz": taken.kernel, "initrd": first}, moment)


def _grub(scratch: Path) -> tuple[bytes, bytes]:
    """The first sector, and GRUB with its menu in it."""
    menu = scratch / "grub.cfg"
    menu.write_text(
        "set root=(hd0,msdos1)\n"
        f"linux /vmlinuz {ARGUMENTS}\n"
        "initrd /initrd\n"
        "boot\n"
    )  # fmt: skip
    core = scratch / "core.img"
    _run(
        *("grub-mkimage", "-O", "i386-pc", "-d", GRUB, "-p", "/", "-c", menu, "-o", core),
        *MODULES,
        env=os.environ,
    )
    return (GRUB / "boot.img").read_bytes(), core.read_bytes()


def _finish(output: Path, draft: Path, taken: root.Taken, moment: int) -> Built:
    with draft.open("rb") as written:
        digest = file_digest(written, "sha256").hexdigest()
    packages = [*sbom.of_debian(taken.status, SUITE), *sbom.of_python(taken.metadata)]
    name = f"colonnade-amphora-{colonnade.__version__}"
    bill = output.with_name(f"{output.name}.spdx.json")
    bill.write_bytes(sbom.bill(name, digest, packages, moment))
    draft.replace(output)
    versions = {one.name: one.version for one in packages}
    return Built(
        image=str(output),
        bill=str(bill),
        sha256=digest,
        bytes=output.stat().st_size,
        release=versions["colonnade"],
        debian=f"{SUITE} {versions['base-files']}",
        haproxy=versions["haproxy"],
        packages=len(packages),
    )


def _run(*words: object, env: Mapping[str, str]) -> None:
    """Raises Broken, with the last words of the program."""
    done = subprocess.run(
        [str(word) for word in words], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Broken(f"{words[0]} ended with {done.returncode}: {said}")
