"""Means and times of an epoch, and the progress bar."""

import sys
import time
import warnings
from contextlib import suppress
from typing import Any, Self

from tinynet.output import is_terminal, say

SHOW_SECONDS = 0.5  # between two updates of the numbers behind the bar; each reads the sums back from the device


class Meter:
    """Measures the time of an epoch, computes its means, and shows both.

    sums      the run's: images, losses, the measure, seconds; the steps add to all but the seconds
    title     the beginning of the line
    done      batches done before, of `batches`, which may be unknown
    show      a bar inside `with`, on a terminal or in a notebook with ipywidgets; and one line at the end
    """

    def __init__(self, sums: dict[str, Any], title: str = "", done: int = 0, batches: int | None = None,
                 show: bool = False) -> None:
        self.sums, self.title, self.done, self.batches, self.show = sums, title, done, batches, show
        self.last = self.shown = time.perf_counter()
        self.bar: Any = None

    def __enter__(self) -> Self:
        if self.show and (bar := _bar()) is not None:
            self.bar = bar(total=self.batches, initial=self.done, desc=self.title, leave=False, unit="batch",
                           bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}{postfix}")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            with suppress(OSError, ValueError):  # the terminal was closed
                self.bar.close()

    def tick(self) -> None:
        """Count a batch. The sums are read back from a device only to update the bar's numbers."""
        self._add_time()
        if self.bar is not None:
            try:
                self.bar.update()
                if self.last - self.shown > SHOW_SECONDS:
                    self.shown = self.last
                    self.bar.set_postfix_str(self._line(self.means("")))
            except (OSError, ValueError):  # the terminal was closed
                self.bar = None

    def means(self, name: str) -> dict[str, float]:
        """The means so far, `name` before their names, and the speed. This waits for a device.

        The measure is missing where the loss names none: see `add_batch`.
        """
        prefix, images = f"{name}_" if name else "", self.sums["images"]
        loss, right = float(self.sums["loss"]), float(self.sums["right"])
        self._add_time()
        seconds = self.sums["seconds"]
        measure = {f"{prefix}{self.measure}": right / images} if right >= 0 and self.measure else {}
        return {f"{prefix}loss": loss / images, **measure, "seconds": seconds, "images_per_second": images / seconds}

    @property
    def measure(self) -> str:
        """The name of what the batches are measured by besides their loss."""
        return str(self.sums["measure"])

    def close(self, row: dict[str, float], left: float) -> None:
        """Print the line of the epoch: its row of the history, and the seconds that remain for the others."""
        if self.show:
            shown = {name.removeprefix("train_"): value for name, value in row.items()}
            more = f", {duration(left)} left" if left >= 0.5 else ""
            say(f"{self.title}  {self._line(shown)}  {row['seconds']:.1f} s{more}")

    def _add_time(self) -> None:
        now = time.perf_counter()
        self.sums["seconds"] += now - self.last
        self.last = now

    def _line(self, row: dict[str, float]) -> str:
        measure = self.measure if self.measure in row else "loss"
        names = dict.fromkeys(("loss", measure, f"validation_{measure}"))
        parts = [f"{name.replace('_', ' ')} {row[name]:.4f}" for name in names if name in row]
        return "  ".join([*parts, f"{row['images_per_second']:,.0f} images/s"])


def _bar() -> Any:
    """The progress bar of tqdm for a terminal or a notebook; None where lines alone are shown."""
    if is_terminal(sys.stderr):
        from tqdm import tqdm

        return tqdm
    if "ipykernel" not in sys.modules:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ipywidgets is missing
        from tqdm.auto import tqdm
    return tqdm if any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__) else None


def duration(seconds: float) -> str:
    """Seconds in the unit that fits.

    >>> duration(45), duration(720), duration(12000)
    ('45 s', '12 min', '3 h 20 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
