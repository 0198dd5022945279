"""tinynet: the LSTM-CNN from the equation to the GPU.

    import tinynet as tn
    model = tn.nn.Sequential(tn.nn.LSTM(28, 128), tn.nn.Flatten(), tn.nn.Dense(28 * 128, 10))

    tn.Tensor, tn.no_grad, tn.using     arrays that remember how they were made            tensor.py, tape.py
    tn.devices, tn.precision            what can be computed on; products in TF32 or bf16  backend/
    tn.threads, tn.set_threads          how many threads run kernels on the CPU            backend/threads.py
    tn.from_dlpack                      arrays shared with PyTorch, JAX, CuPy              tensor.py
    tn.ops                              the math, op by op                                 ops/
    tn.nn, tn.init                      layers, their parameters and initial values        nn/, init.py
    tn.models                           the models of the paper                            models.py
    tn.optim                            SGD, Adam, AdamW, schedules, clipping              optim/
    tn.data                             readers and loaders                                data/
    tn.fit, tn.evaluate, tn.predict     the training loop, which can be killed and resumed training/
    tn.callbacks                        early stopping, logs                               training/callbacks.py
    tn.metrics                          how good is it?                                    metrics/
    tn.save, tn.load, tn.exchange       a model in one file; weights of PyTorch, Keras     saving/
    tn.to_onnx                          a model for other programs                         export/
    tn.sklearn                          a network as a classifier of scikit-learn          sklearn.py
    tn.explain                          what a classifier of images looks at               explain.py
    tn.gradcheck, tn.seed               is a gradient right? the same bits again           gradcheck.py, random.py
    tn.about                            versions, processor, threads, devices              about.py
"""

from typing import TYPE_CHECKING

from tinynet import backend, data, errors, explain, init, metrics, models, nn, ops, optim, random
from tinynet.about import __version__ as __version__
from tinynet.about import about
from tinynet.backend import precision, using
from tinynet.backend.devices import devices
from tinynet.backend.threads import set_threads, threads
from tinynet.elsewhere import in_modules
from tinynet.export.onnx import to_onnx
from tinynet.gradcheck import Report, gradcheck
from tinynet.random import seed
from tinynet.saving import exchange
from tinynet.saving.models import load, save
from tinynet.tape import no_grad
from tinynet.tensor import Tensor, from_dlpack
from tinynet.training import callbacks
from tinynet.training.evaluate import evaluate, predict
from tinynet.training.fit import fit

__all__ = ["Report", "Tensor", "about", "backend", "callbacks", "data", "devices", "errors", "evaluate", "exchange",
           "explain", "fit", "from_dlpack", "gradcheck", "init", "load", "metrics", "models", "nn", "no_grad", "ops",
           "optim", "precision", "predict", "random", "save", "seed", "set_threads", "threads", "to_onnx", "using"]

if TYPE_CHECKING:
    from tinynet import sklearn as sklearn
else:
    _elsewhere = in_modules({"tn": [*__all__, "sklearn"], "tn.nn": nn.__all__, "tn.optim": optim.__all__,
                             "tn.ops": ops.__all__, "tn.data": data.__all__})

    def __getattr__(name):
        """`tn.sklearn`, which imports scikit-learn; an error that names the right name for another one."""
        if name == "sklearn":
            import tinynet.sklearn as made

            return made
        return _elsewhere(name)
