"""Disks that run full: small file systems in memory, which only root may mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A disk of its own at `place`; skips where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        # Lazily: a file of a failed write may be open until it is collected.
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def fill(disk: Path, left: int) -> Path:
    """Fill a disk up to `left` bytes; returns the file to remove for room."""
    status = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * max(0, status.f_bavail * status.f_bsize - left))
    return filler
