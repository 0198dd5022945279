"""The models of the paper and of the pneumonia project, with their sizes written out.

Images are channels last, (N, 28, 28, 1), scaled to 0 ... 1. Every model ends with the scores of the classes; the
softmax is in the loss, `tn.ops.cross_entropy`. The paper does not give units, filters and widths: these are our choice.
The four models of its table I have the same number of parameters within 10 %, so that they can be compared.

>>> import tinynet as tn
>>> tn.models.lstm_cnn(classes=26)[-1]
Dense(inputs=1664, units=26)

Source: Aditi, Nagda, Poovammal, "Image Classification using a Hybrid LSTM-CNN Deep Neural Network", 2019.
"""

from tinynet.nn import (
    LSTM,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    Module,
    ReLU,
    Reshape,
    Sequential,
)


def lstm_cnn(classes: int = 10) -> Sequential:
    """LSTM-CNN, the paper's model: rows are time steps for the LSTM, and convolutions run over its outputs.

    121,676 parameters.
    """
    return Sequential(
        BatchNorm(1),
        Reshape((28, 28)),         # 28 time steps of 28 pixels
        LSTM(28, 128),
        Dropout(0.2),
        Conv1D(128, 64, 3),        # (26, 64)
        ReLU(),
        Dropout(0.2),
        Flatten(),                 # 26 x 64 = 1664
        Dense(1664, classes),
        input_shape=(28, 28, 1),
    )


def cnn_lstm(classes: int = 10) -> Sequential:
    """CNN-LSTM, the other way round: convolutions run over the image, and the LSTM reads the rows of the feature map.

    124,396 parameters.
    """
    return Sequential(
        BatchNorm(1),
        Conv2D(1, 16, 3, padding="same"),
        ReLU(),
        MaxPool2D(2),              # (14, 14, 16)
        Dropout(0.2),
        Reshape((14, 224)),        # 14 time steps of 14 x 16 features
        LSTM(224, 96, return_sequences=False),
        Dropout(0.2),
        Dense(96, classes),
        input_shape=(28, 28, 1),
    )


def lstm(classes: int = 10) -> Sequential:
    """LSTM alone: the LSTM of the LSTM-CNN, and a Dense layer on its outputs.

    116,236 parameters.
    """
    return Sequential(
        BatchNorm(1),
        Reshape((28, 28)),
        LSTM(28, 128),
        Dropout(0.2),
        Flatten(),                 # 28 x 128 = 3584
        Dense(3584, classes),
        input_shape=(28, 28, 1),
    )


def cnn(classes: int = 10) -> Sequential:
    """CNN alone: two convolutions and two Dense layers.

    121,932 parameters.
    """
    return Sequential(
        BatchNorm(1),
        Conv2D(1, 32, 3),
        ReLU(),
        MaxPool2D(2),              # (13, 13, 32)
        Conv2D(32, 64, 3),
        ReLU(),
        MaxPool2D(2),              # (5, 5, 64)
        Dropout(0.2),
        Flatten(),                 # 5 x 5 x 64 = 1600
        Dense(1600, 64),
        ReLU(),
        Dropout(0.2),
        Dense(64, classes),
        input_shape=(28, 28, 1),
    )


def deep_lstm_cnn(classes: int = 10) -> Sequential:
    """The LSTM-CNN with two more LSTM-CNN layers, as in the paper's full run; convolutions keep the 28 steps.

    369,868 parameters.
    """
    def block(features: int) -> list[Module]:
        return [LSTM(features, 128), Dropout(0.2), Conv1D(128, 64, 3, padding="same"), ReLU(), Dropout(0.2)]

    return Sequential(
        BatchNorm(1),
        Reshape((28, 28)),
        *block(28),
        *block(64),
        *block(64),
        Flatten(),                 # 28 x 64 = 1792
        Dense(1792, classes),
        input_shape=(28, 28, 1),
    )


def idc_lstm_cnn(classes: int = 2) -> Sequential:
    """LSTM-CNN for patches of tissue in colour: 50 time steps of 50 x 3 values.

    113,336 parameters.
    """
    return Sequential(
        BatchNorm(3),
        Reshape((50, 150)),
        LSTM(150, 96),
        Dropout(0.2),
        Conv1D(96, 48, 3),         # (48, 48)
        ReLU(),
        Dropout(0.2),
        Flatten(),                 # 48 x 48 = 2304
        Dense(2304, classes),
        input_shape=(50, 50, 3),
    )


def idc_lstm(classes: int = 2) -> Sequential:
    """LSTM alone for patches of tissue: the LSTM of the LSTM-CNN, and a Dense layer on its outputs.

    104,456 parameters.
    """
    return Sequential(
        BatchNorm(3),
        Reshape((50, 150)),
        LSTM(150, 96),
        Dropout(0.2),
        Flatten(),                 # 50 x 96 = 4800
        Dense(4800, classes),
        input_shape=(50, 50, 3),
    )


def idc_cnn(classes: int = 2) -> Sequential:
    """CNN alone for patches of tissue: three convolutions and two Dense layers.

    105,624 parameters.
    """
    return Sequential(
        BatchNorm(3),
        Conv2D(3, 32, 3),
        ReLU(),
        MaxPool2D(2),              # (24, 24, 32)
        Conv2D(32, 64, 3),
        ReLU(),
        MaxPool2D(2),              # (11, 11, 64)
        Conv2D(64, 64, 3),
        ReLU(),
        MaxPool2D(2),              # (4, 4, 64)
        Dropout(0.2),
        Flatten(),                 # 4 x 4 x 64 = 1024
        Dense(1024, 48),
        ReLU(),
        Dropout(0.2),
        Dense(48, classes),
        input_shape=(50, 50, 3),
    )


def pneumonia_cnn_lstm(classes: int = 2, size: int = 224) -> Sequential:
    """CNN + LSTM on chest X-rays: four blocks of convolutions, and an LSTM that reads the feature map row by row.

    306,658 parameters at 224 x 224, the size in the comments. `size` is at least 16 pixels.
    """
    rows = size // 16  # four poolings
    return Sequential(
        Conv2D(3, 16, 3, padding="same"),
        ReLU(),
        MaxPool2D(2),              # (112, 112, 16)
        Conv2D(16, 32, 3, padding="same"),
        ReLU(),
        MaxPool2D(2),              # (56, 56, 32)
        Conv2D(32, 64, 3, padding="same"),
        ReLU(),
        MaxPool2D(2),              # (28, 28, 64)
        Conv2D(64, 64, 3, padding="same"),
        ReLU(),
        MaxPool2D(2),              # (14, 14, 64)
        Reshape((rows, 64 * rows)),  # 14 time steps of 14 x 64 features
        Dropout(0.2),
        LSTM(64 * rows, 64, return_sequences=False),
        Dropout(0.2),
        Dense(64, classes),
        input_shape=(size, size, 3),
    )


def image_cnn_lstm(height: int, width: int, channels: int, classes: int) -> Sequential:
    """A CNN + LSTM for images of any size from 8 x 8: blocks as in the pneumonia model, until at most 14 rows are left.

    Batch normalisation after each convolution makes it learn from few images.
    """
    layers: list[Module] = []
    rows, columns, features = height, width, channels
    for filters in (16, 32, 64, 64, 64, 64):
        layers += [Conv2D(features, filters, 3, padding="same"), BatchNorm(filters), ReLU(), MaxPool2D(2)]
        rows, columns, features = rows // 2, columns // 2, filters
        if max(rows, columns) <= 14:
            break
    return Sequential(
        *layers,
        Reshape((rows, columns * features)),  # rows are time steps
        Dropout(0.2),
        LSTM(columns * features, 64, return_sequences=False),
        Dropout(0.2),
        Dense(64, classes),
        input_shape=(height, width, channels),
    )
