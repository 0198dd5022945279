"""Twenty elements, three blocks of eight threads: which thread computes which element of a ReLU."""

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing

SIZE, THREADS = 20, 8
COLORS = ("f", "i", "Ctilde")


def values() -> tuple[np.ndarray, np.ndarray]:
    """Twenty numbers, and their ReLU."""
    x = np.random.default_rng(3).integers(-4, 5, SIZE).astype("float32")
    return x, tn.ops.relu(tn.Tensor(x)).numpy()


def draw() -> Drawing:
    drawing = Drawing("Three blocks of eight threads compute twenty elements", height=222)
    x, y = values()
    blocks = -(-SIZE // THREADS)
    cell = 504 / (blocks * THREADS)
    for block in range(blocks):
        left = 8 + block * THREADS * cell
        drawing.text(left + THREADS * cell / 2, 22, f"block {block}", COLORS[block], "middle", bold=True)
        for thread in range(THREADS):
            at, place = block * THREADS + thread, left + thread * cell
            busy = at < SIZE
            drawing.rect(place + 1.5, 34, cell - 3, 30, COLORS[block] if busy else "paper",
                         "" if busy else "muted", 3)
            drawing.text(place + cell / 2, 54, str(thread), "paper" if busy else "muted", "middle", 12, bold=True)
            if busy:
                drawing.line(place + cell / 2, 66, place + cell / 2, 94, COLORS[block], 1.5)
                drawing.line(place + cell / 2, 128, place + cell / 2, 154, COLORS[block], 1.5)
                for top, value in ((98, x[at]), (156, y[at])):
                    drawing.rect(place + 1, top, cell - 2, 28, "fill", "rule")
                    text = f"{value:.0f}".replace("-", "−")
                    drawing.text(place + cell / 2, top + 19, text, "ink" if value else "muted", "middle", 12)
    drawing.text(512, 117, "x", "muted", "end")
    drawing.text(512, 175, "y", "muted", "end")
    drawing.text(8, 212, "at = blockIdx.x * blockDim.x + threadIdx.x;  if (at < 20)", "muted", size=12, mono=True)
    return drawing
