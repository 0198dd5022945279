"""Models in files, and weights of other frameworks.

    archive.py    a file of named arrays and a JSON header with a checksum, under models and checkpoints
    models.py     tn.save and tn.load
    exchange.py   weights to and from PyTorch and Keras
"""
