"""A web page that runs a model in the browser: one file, without a network.

    runtime.py   onnxruntime-web: where its files are found, and their checksums
    page.py      the file, made of the three below, the model and the runtime
    page.html    the parts of the page
    page.css     how it looks: phone and desktop, light and dark
    page.js      what it does
"""
