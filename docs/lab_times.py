"""Time the lab in headless Chromium: python -m docs.lab_times. It needs chromium, and playwright of the extra test.

Each figure is the median of 20 calls, from the call in the page to its answer: by the server on this machine, and by
Python in the browser. `ready` is the time from the start of the page's script until all widgets have been drawn; for
the server, after its first start. The table is written to tinynet/learn/page/times.json, which the page shows.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from docs.lab import ROOT, build
from docs.serving import files_of, serving
from tinynet.atomic import write_whole
from tinynet.learn.server import Server

FILE = ROOT / "tinynet" / "learn" / "page" / "times.json"
CALLS = {"gates and 28 predictions": '"gates", lab.digit', "back through time": '"back", lab.digit, 3',
         "a broken line checked": '"break_it", lab.about.source'}
REPEAT = 20


def timed(page: Any, address: str) -> dict[str, float]:
    """Milliseconds: until the page is ready, and of each call."""
    page.goto(address)
    while not page.evaluate("!!(window.tinynetLab && window.tinynetLab.ready)"):  # the page's policy forbids `eval`
        page.wait_for_timeout(20)
    found = {"ready": page.evaluate("window.tinynetLab.ready")}
    for name, call in CALLS.items():
        found[name] = page.evaluate(f"""async () => {{
            const lab = window.tinynetLab, times = [];
            for (let k = 0; k < {REPEAT}; k++) {{
                const begin = performance.now();
                await lab.ask({call});
                times.push(performance.now() - begin);
            }}
            return times.sort((a, b) => a - b)[{REPEAT // 2}];
        }}""")
    return {name: round(value, 1) for name, value in found.items()}


def main() -> int:
    argparse.ArgumentParser("python -m docs.lab_times", description=(__doc__ or "").partition("\n")[0]).parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        build(Path(folder))
        chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        times = {}
        with serving(Server()) as server, serving(files_of(Path(folder))) as files:
            for name, address in (("server", server.address), ("browser", f"http://127.0.0.1:{files.server_port}/")):
                timed(chromium.new_page(), address)  # the first start
                times[name] = timed(chromium.new_page(), address)
        chromium.close()
    write_whole(FILE, (json.dumps(times, indent=1) + "\n").encode())
    for name, row in times.items():
        print(f"{name:8}", "  ".join(f"{what} {value:,.1f} ms" for what, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
