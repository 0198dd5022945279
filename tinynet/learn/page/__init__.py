"""The page of the lab.

    index.html   its parts
    page.css     its colors and layout
    page.js      starts all widgets
    lab.css      the layout of the widgets, here and in the chapters of the site
    lab.js       calls of tinynet/learn/lab.py, over HTTP or in a worker
    widgets.js   what can be touched
    worker.js    tinynet in the browser, for pages without a server
    times.json   how long its answers take on a machine with two processors, by `make lab-times`
    digit.npz    the weights of tinynet.models.lstm_cnn, which `python examples/lab_digit.py --out FILE` has trained
"""
