"""Pages in headless Chromium: files are opened as a double click opens them, and every request is noted."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Opened(NamedTuple):
    """A page, its requests that are not for the file or a part of it, and the errors on its console."""

    page: Any
    outside: list[str]
    errors: list[str]


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        made = started.chromium.launch(executable_path=CHROMIUM, args=[*options, "--disable-background-networking"])
        try:
            yield made
        finally:
            made.close()


@contextmanager
def opened(chromium: Any, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[Opened]:
    """A page of a file, which is ready."""
    context = chromium.new_context(viewport={"width": width, "height": height}, offline=True,
                                   color_scheme="dark" if dark else "light")
    page, outside, errors = context.new_page(), list[str](), list[str]()
    page.on("request", lambda request: None if request.url.startswith(("file:", "blob:", "data:")) else
            outside.append(request.url))
    page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.evaluate("window.tinynet.ready")
    try:
        yield Opened(page, outside, errors)
    finally:
        context.close()


def wait(page: Any, condition: str, seconds: float = 60) -> None:
    """Wait until an expression is true. The policy of the page forbids Playwright's own way, which uses `eval`."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"!!({condition})"):
        assert time.monotonic() < end, f"not true after {seconds} s: {condition}"
        page.wait_for_timeout(20)


def classified(page: Any, files: list[Path]) -> list[Any]:
    """The results of the page for files, the last one first."""
    before = page.evaluate("window.tinynet.results.length")
    page.set_input_files("#files", [str(file) for file in files])
    wait(page, f"window.tinynet.results.length >= {before + len(files)}")
    found: list[Any] = page.evaluate("window.tinynet.results")
    return found[: len(files)]
