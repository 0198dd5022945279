"""Four models with five seeds each on the test images of MNIST: each run, the mean, and its interval."""

from docs.figures.results import runs
from docs.site.drawing import Drawing
from tinynet.intervals import mean_of

MODELS = {"lstm_cnn": "LSTM-CNN", "cnn_lstm": "CNN-LSTM", "lstm": "LSTM", "cnn": "CNN"}


def draw() -> Drawing:
    drawing = Drawing("Test accuracy of four models on MNIST, five seeds each, with intervals", height=262)
    axes = drawing.axes(100, 30, 400, 176, x=(99.2, 99.8), y=(4, 0), xticks=(99.2, 99.4, 99.6, 99.8),
                        xlabel="test accuracy in percent; paper: 98.27, 97.07, 98.13, 97.27 (validation)")
    for row, (name, title) in enumerate(MODELS.items()):
        accuracies = [100 * run.accuracy for run in runs(f"mnist_table1-{name}-*.json")]
        mean, _, half = mean_of(accuracies)
        x, y = axes.at(mean, row + 0.5)
        drawing.text(90, y + 5, title, name, "end", bold=True)
        low, high = axes.at(mean - half, 0)[0], axes.at(mean + half, 0)[0]
        drawing.rect(low, y - 11, high - low, 22, name, opacity=0.22, rounded=4)
        drawing.line(x, y - 11, x, y + 11, name, 3)
        axes.points(accuracies, [row + 0.5] * len(accuracies), name, 4)
    return drawing
