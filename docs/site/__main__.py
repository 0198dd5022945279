"""Make the site: python -m docs.site [--clean]. It writes docs/_build/html/index.html."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from docs.site import links
from docs.site.pages import ROOT, clean, stage

BUILD = ROOT / "docs" / "_build"
MEBIBYTE = 2**20


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m docs.site", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clean", action="store_true", help="make every page again")
    parser.add_argument("--out", type=Path, default=BUILD, help="the folder (default: docs/_build)")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    if options.clean:
        clean(options.out)
    stage(options.out / "source")
    site = options.out / "html"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", ROOT / "docs" / "site",
                           "-d", options.out / "doctrees", "-b", "html", options.out / "source", site],
                          env=environment, check=False)
    if done.returncode:
        return done.returncode
    found = links.faults(site)
    for fault in found:
        print(fault, file=sys.stderr)
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    seconds = time.monotonic() - start
    print(f"{site / 'index.html'}: {size / MEBIBYTE:.1f} MiB, {seconds:.0f} s, {len(found)} dead links")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
