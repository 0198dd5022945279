"""The colors of all figures, light and dark: one for each quantity of the LSTM and for each kind of model.

The hues are those of Okabe and Ito, which readers with color blindness can tell apart, made darker or lighter until
each has a contrast of 4.5 to 1 with its background. In figures a name stands beside each curve, so that color is never
alone.
"""

# name: (on light, on dark)
COLORS = {
    "paper": ("#ffffff", "#131416"),
    "ink": ("#1a1c1e", "#e6e8ea"),
    "muted": ("#5a6068", "#a2a9b2"),
    "rule": ("#c9ced6", "#3d434b"),
    "fill": ("#eef1f5", "#23272d"),
    # quantities of the LSTM
    "f": ("#0060a8", "#62b2f2"),  # forget gate: blue
    "i": ("#a86400", "#f0b03c"),  # input gate: orange
    "Ctilde": ("#007a56", "#3cc79b"),  # candidate state: green
    "o": ("#a33d83", "#e48fc6"),  # output gate: purple
    "C": ("#b32d00", "#ff8257"),  # cell state: vermilion
    "h": ("#0d7f9c", "#74d3ea"),  # hidden state: sky
    # kinds of models
    "lstm_cnn": ("#b32d00", "#ff8257"),
    "cnn_lstm": ("#a33d83", "#e48fc6"),
    "lstm": ("#0060a8", "#62b2f2"),
    "cnn": ("#007a56", "#3cc79b"),
    "deep_lstm_cnn": ("#6b4a00", "#d9b96a"),
    # verdicts, always beside a word or a sign
    "right": ("#00684a", "#3cc79b"),
    "wrong": ("#b32d00", "#ff8257"),
}
# Steps of heat maps, from 0 to the largest value, and from negative through 0 to positive.
SEQUENTIAL = (
    ("#f4f6f8", "#1c1f23"), ("#d5e4f0", "#17303f"), ("#afcde3", "#1a465f"), ("#82b1d3", "#215f82"),
    ("#5592bf", "#2f7ba6"), ("#2f73a6", "#4c98c5"), ("#155689", "#76b5dc"), ("#083c68", "#a6d0ec"),
    ("#042544", "#d8ecf9"))
DIVERGING = (
    ("#08447a", "#8ac6f5"), ("#2f73b0", "#4f97d2"), ("#74a7d0", "#2d6a9e"), ("#bad2e5", "#1f4260"),
    ("#f4f4f2", "#1c1f23"),
    ("#f2c9b6", "#5c3222"), ("#dd8f6c", "#96492a"), ("#bd5328", "#d56e3f"), ("#882d06", "#ffb08c"))


def variables() -> dict[str, tuple[str, str]]:
    """All colors by the name of their variable in style sheets, such as `--tn-f`."""
    named = {**COLORS, **{f"s{k}": pair for k, pair in enumerate(SEQUENTIAL)},
             **{f"d{k}": pair for k, pair in enumerate(DIVERGING)}}
    return {f"--tn-{name}": pair for name, pair in named.items()}


def style_sheet() -> str:
    """The variables as CSS: dark if the page or, on "auto", the reader's system asks for it."""
    def block(which: int) -> str:
        return "".join(f"{name}:{pair[which]};" for name, pair in variables().items())
    return (f"body{{{block(0)}}}\nbody[data-theme=dark]{{{block(1)}}}\n"
            f"@media (prefers-color-scheme:dark){{body:not([data-theme=light]){{{block(1)}}}}}\n")
