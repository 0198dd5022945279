"""Models to and from PyTorch and Keras: `tn.exchange`.

    from_torch, to_torch, from_keras, to_keras     weights, as dictionaries of arrays    weights.py
    from_torch_module                              a model of PyTorch as one of ours     from_modules.py
    to_torch_module                                a model of ours as one of PyTorch     to_modules.py, torch_layers.py
"""

from tinynet.saving.exchange.from_modules import from_torch_module
from tinynet.saving.exchange.to_modules import to_torch_module
from tinynet.saving.exchange.weights import from_keras, from_torch, to_keras, to_torch

__all__ = ["from_keras", "from_torch", "from_torch_module", "to_keras", "to_torch", "to_torch_module"]
