"""The subcommands of `tinynet`: each file has `add`, which describes its options, and the function that runs.

    answers.py    what they share: lines, JSON and CSV on stdout, complaints on stderr
    train.py      a model of a folder of images
    predict.py    the classes of images
    explain.py    what it looks at in images
    evaluate.py   accuracy, precision and recall on labelled images
    summary.py    the layers of a model; versions and processor
    export.py     a model for other programs
    learn.py      exercises and their check
"""
