"""Models for other programs: a graph in the ONNX format, and a web page that runs it.

    trace.py         the ops that a model calls, and which arrays pass between them
    graph.py         nodes, constants, and the order of axes in which each array is stored
    rules.py         the registry: for each op a rule that writes it as nodes, or a reason why no nodes can
    elementwise.py   rules: arithmetic, activations, comparisons
    shapes.py        rules: shapes, indices, reductions
    layers.py        rules: products, convolution, pooling, batch normalisation, LSTM
    onnx.py          tn.to_onnx
    web/             the page
"""
