"""Faults of a built site: links and anchors that lead nowhere, and requests to other hosts."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.loaded = set[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        loads = tag in ("script", "img", "iframe", "source", "link") and given.get("rel") not in ("canonical",)
        for name in ("href", "src"):
            if name in given:
                (self.loaded if loads else self.links).append(given[name])


def faults(site: Path) -> list[str]:
    """The faults of all pages below a folder."""
    pages = {path.relative_to(site).as_posix(): _Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for name, page in pages.items():
        found += [f"{name} loads {url}" for url in page.loaded if urlsplit(url).netloc]
        for url in [*page.links, *page.loaded]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{name}: {url} does not exist")
                continue
            other = pages.get(target.resolve().relative_to(site.resolve()).as_posix())
            if parts.fragment and other and unquote(parts.fragment) not in other.ids:
                found.append(f"{name}: {url} has no such anchor")
    return list(dict.fromkeys(found))
