"""A trained LSTM reads a digit: gates, state and output row by row, and the prediction after each row."""

from docs.figures.digit import reading
from docs.site.drawing import Drawing

PANELS = [("f: keep", "f", 1.0, False), ("i: take in", "i", 1.0, False), ("C~: candidate", "Ctilde", 1.0, True),
          ("o: show", "o", 1.0, False), ("C: state", "C", 0.0, True), ("h: output", "h", 1.0, True)]


def draw() -> Drawing:
    read = reading()
    drawing = Drawing(f"A trained LSTM reads a {read.label}: gates, state, output, and prediction", height=476)
    wide, high, across, down = 106, 172, 130, 232
    drawing.text(18, 22, f"the digit, a {read.label}", bold=True)
    drawing.heat(18, 34, wide, high, read.image, 1.0)
    for t in (1, 14, 28):
        drawing.text(14, 34 + (t - 0.5) / 28 * high + 4, str(t), "muted", "end", 11)
    drawing.text(18, 222, "row = time step", "muted", size=12)
    for k, (title, name, limit, diverging) in enumerate(PANELS):
        left, top = 18 + across * ((k + 1) % 4), 34 + down * ((k + 1) // 4)
        values = getattr(read, name)
        drawing.text(left, top - 12, title.replace("C~", "C̃"), name, bold=True)
        drawing.heat(left, top, wide, high, values, limit or None, diverging)
        if k in (0, 5):
            drawing.text(left, top + high + 16, "32 units", "muted", size=12)
    left, top = 18 + across * 3, 34 + down
    drawing.text(left, top - 12, "p, row by row", bold=True)
    drawing.heat(left, top, wide, high, read.p, 1.0)
    for digit in range(10):
        drawing.text(left + (digit + 0.5) * wide / 10, top + high + 16, str(digit),
                     "ink" if digit == read.label else "muted", "middle", 12, bold=digit == read.label)
    return drawing
