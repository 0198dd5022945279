"""The project's own files."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "tinynet", "docs", "examples", "benchmarks", "tests")


def project_files() -> list[str]:
    """The paths of the project's files, relative to its folder and sorted: tracked by git, or new and not ignored.

    In a copy without git, such as an sdist: the files at the top, and all in its folders.
    """
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    else:
        found = [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
        names = [path.relative_to(ROOT).as_posix() for path in found if not {"__pycache__", "_build"} & {*path.parts}]
    return sorted(name for name in names if (ROOT / name).is_file())
