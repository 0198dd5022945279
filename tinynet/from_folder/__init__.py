"""Train a classifier on a folder of images, as `tinynet train` does.

    settings.py   what can be chosen; the size of the images, the model, the weights of the classes
    train.py      one model on one split, and the rule of its decisions: calibration and threshold
    run.py        one split, or several folds and their ensemble; what is evaluated and written
    words.py      what the numbers mean, and where they cannot mean what they seem to
    figures.py    curves, the confusion matrix, the worst mistakes
"""
