"""Logs for the Sparsity tab, with numbers that a test knows."""

import keras
from tensorboard.compat.proto import summary_pb2

import kerasreg as kr
from kerasreg.statistics.names import Dropouts, LayerNames
from kerasreg.statistics.places import find_places
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.event_file import EventWriter
from kerasreg.tensorboard.pages import add_marker, add_tensor
from kerasreg.tensorboard.points import add_scalar
from kerasreg_tensorboard.names import COMPACTION_TAG, WEIGHTS_TAG

# Before and after.
COMPACTION = {"parameters": [144, 61], "multiply_adds": [132, 55]}
HTML = '<img src=x onerror="pwned=1">'  # PyTorch allows no dot in a name


def model(units=12, html=HTML):
    """Weights with and without penalty and units, and a name that is HTML."""
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(units, kernel_regularizer=kr.L1(1e-3), name="first"),
            layers.Dense(4, kernel_regularizer=kr.L2(1e-5), use_bias=False, name="größer 2"),
            layers.Dense(3, use_bias=False, name=html),
        ]
    )
    penalties = {".*größer 2/kernel": kr.GroupLasso(1e-4, axis=0)}
    network.compile(kr.Proximal(keras.optimizers.Adam(1e-3), penalties), "mse")
    return network


class Log:
    """A run's log, written point by point."""

    def __init__(self, folder, network=None, first_step=0):
        self._events = EventWriter(folder, first_step)
        if network is not None:
            summary = summary_pb2.Summary()
            names = LayerNames(network)
            places = find_places(network, names, Dropouts(network, names))
            add_marker(summary, find_weights(network), places)
            self._events.write(first_step, summary)

    def write(self, step, values):
        summary = summary_pb2.Summary()
        for tag, value in values.items():
            add_scalar(summary, tag, value)
        self._events.write(step, summary)

    def write_tensor(self, step, tag, content):
        summary = summary_pb2.Summary()
        add_tensor(summary, tag, content)
        self._events.write(step, summary)

    def close(self):
        self._events.close()


def values(step):
    """Every number of the tab at a step of 0 to 40."""
    nan = float("nan")
    return {
        "all/sparsity": step / 100,
        "all/dead_units": step / 10,
        "all/regularization_loss": 2e-3 if step != 20 else nan,
        "sparsity/first/kernel": step / 50,
        "sparsity/first/bias": 0.0,
        "sparsity/größer 2/kernel": step / 40,
        f"sparsity/{HTML}/kernel": 0.005 * step,
        "dead_units/first/kernel": step / 10,
        "dead_parts/größer 2/kernel": step / 8,
        f"dead_units/{HTML}/kernel": 1.0,
        "penalty_share/first/kernel": 0.25,
        "penalty_share/größer 2/kernel": 0.75,
        "strength/first/kernel": 1e-3,
        "strength/größer 2/kernel": nan if step == 40 else 1e-5 * step,
    }


def write_runs(folder):
    """Two runs for the tab, the second newer and longer, and one of somebody else."""
    for name, steps in (("first", (0, 10)), ("second", (0, 10, 20, 30, 40))):
        log = Log(folder / name, model())
        for step in steps:
            log.write(step, values(step))
        if name == "second":
            log.write_tensor(steps[-1], COMPACTION_TAG, COMPACTION)
        log.close()
    log = Log(folder / "plain")
    log.write(0, {"sparsity/first/kernel": 0.5})
    log.close()


def write_deep(folder, layers):
    """A run of many layers, each with one unit more than the last, and about half of them dead."""
    names = [f"block_{number // 10}/dense_{number}" for number in range(layers)]
    described = [
        {
            "name": f"{name}/kernel",
            "path": f"deep/{name}/kernel",
            "shape": [number, number + 1],
            "size": number * (number + 1),
            "units": number + 1,
            "penalty": "",
            "layer": name,
            "order": number,
        }
        for number, name in enumerate(names)
    ]
    log = Log(folder)
    log.write_tensor(0, WEIGHTS_TAG, {"weights": described})
    dead = {f"dead_units/{name}/kernel": number // 2 for number, name in enumerate(names)}
    sparsity = {f"sparsity/{name}/kernel": 0.5 for name in names}
    log.write(10, {"all/sparsity": 0.5} | dead | sparsity)
    log.close()


def name_of(number):
    """The name of a weight of the large run."""
    return f"block/dense_{number // 2}/{'bias' if number % 2 else 'kernel'}"


def write_large(folder, weights):
    """A run of many weights in layers of two, each with a sparsity and an order of its own."""
    names = [name_of(number) for number in range(weights)]
    described = [
        {
            "name": name,
            "path": f"large/{name}",
            "shape": [2, 5],
            "size": 10,
            "units": 5,
            "penalty": "",
        }
        for name in names
    ]
    log = Log(folder)
    log.write_tensor(0, WEIGHTS_TAG, {"weights": described})
    for step in (0, 10):
        numbers = {f"sparsity/{n}": i * 7919 % weights / weights for i, n in enumerate(names)}
        dead = {f"dead_units/{name}": float(step > 0) for name in names}
        log.write(step, {"all/sparsity": step / 20} | numbers | dead)
    log.close()
