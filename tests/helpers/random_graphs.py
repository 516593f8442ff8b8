"""Random small models with dead units in them, for the tests of compaction."""

import keras
import numpy as np

import kerasreg as kr
from kerasreg._keras_internals import layer_scale

layers = keras.layers
ACTIVATIONS = ["relu", "tanh", "sigmoid", "linear", "gelu", "softplus"]


class RandomGraph:
    """A functional model that a seed decides, whose weights have zeros in them.

    Args:
        seed: The seed.
        blocks: How many blocks of layers.
        kind: `"image"`, `"sequence"`, `"tokens"` or `"vector"`; by default the seed decides.
    """

    def __init__(self, seed, blocks=4, kind=None):
        self.rng = np.random.default_rng(seed)
        keras.utils.set_random_seed(seed)
        self.kind = kind or self.pick(["image", "image", "sequence", "tokens", "vector"])
        self.constant = []
        x = inputs = self.inputs()
        for _ in range(blocks):
            x = self.block(x)
        self.model = keras.Model(inputs, self.outputs(x))
        ends = {id(tensor._keras_history.operation) for tensor in self.model.outputs}
        for layer in self.model._flatten_layers():
            self.kill(layer, dead=0.1 if id(layer) in ends else 0.4)
        for layer in self.constant:
            layer.kernel.assign(np.zeros(layer.kernel.shape))

    def pick(self, options):
        return options[self.rng.integers(len(options))]

    def chance(self, probability):
        return self.rng.random() < probability

    def width(self):
        return int(self.pick([2, 4, 6]))

    def activation(self):
        return self.pick(ACTIVATIONS)

    def inputs(self):
        if self.kind == "image":
            return keras.Input((6, 6, 3))
        if self.kind == "sequence":
            return keras.Input((5, 4))
        return keras.Input((5,), dtype="int32") if self.kind == "tokens" else keras.Input((6,))

    def data(self, samples=5):
        """Inputs for the model."""
        shape = (samples, *self.model.inputs[0].shape[1:])
        if self.kind == "tokens":
            return self.rng.integers(0, 7, shape).astype("int32")
        return self.rng.normal(size=shape).astype("float32")

    def outputs(self, x):
        if len(x.shape) == 4:
            x = self.pick([layers.Flatten(), layers.GlobalAveragePooling2D()])(x)
        elif len(x.shape) == 3:
            pool = self.pick([layers.Flatten(), layers.GlobalMaxPooling1D(), None])
            x = pool(x) if pool else x
        if self.chance(0.2):
            return {"a": layers.Dense(2, "softmax", name="a")(x), "b": layers.Dense(1, name="b")(x)}
        return layers.Dense(3)(x)

    # Blocks, of which each keeps the rank.

    def block(self, x):
        if len(x.shape) == 2 and self.kind == "tokens":
            return layers.Embedding(7, self.width(), mask_zero=self.chance(0.3))(x)
        common = ["residual", "concatenate", "shared", "nested", "wrapped", "operations", "merge"]
        common += ["constant_branch", "reduced", "sliced", "scaled", "chosen"]
        own = {2: ["dense"] * 3, 3: SEQUENCES, 4: IMAGES}[len(x.shape)]
        return getattr(self, self.pick(common + own + own))(x)

    def dense(self, x, units=None):
        units = units or self.width()
        x = layers.Dense(units, self.activation(), use_bias=self.chance(0.7))(x)
        return self.noise(self.norm(x))

    def norm(self, x):
        options = [layers.BatchNormalization] * 4
        options += [layers.LayerNormalization, layers.RMSNormalization]
        return self.pick(options)()(x) if self.chance(0.4) else x

    def noise(self, x):
        options = [layers.Dropout(0.3), kr.Dropout(0.3), kr.Dropout(0.3, scaling="inference")]
        options += [kr.DropPath(0.2), layers.GaussianNoise(0.1), layers.Identity()]
        return self.pick(options)(x) if self.chance(0.3) else x

    def same_shape(self, x):
        """A block whose output has the shape of its input."""
        width = x.shape[-1]
        if len(x.shape) == 4:
            return self.norm(self.convolution(x, width, "same", 1))
        return self.dense(x, width)

    def convolution(self, x, filters=None, padding=None, stride=None):
        kernel = int(self.pick([1, 3] if min(x.shape[1:-1]) >= 3 else [1]))
        rank = len(x.shape) - 2
        padding = padding or self.pick(["same", "valid"])
        cls = layers.Conv2D if rank == 2 else layers.Conv1D
        return cls(
            filters or self.width(),
            kernel,
            strides=stride or int(self.pick([1, 1, 2])),
            padding=padding,
            activation=self.activation(),
            use_bias=self.chance(0.7),
        )(x)

    def conv(self, x):
        return self.noise(self.norm(self.convolution(x)))

    def grouped(self, x):
        if x.shape[-1] % 2:
            return self.conv(x)
        return layers.Conv2D(int(self.pick([4, 6])), 1, groups=2, activation=self.activation())(x)

    def depthwise(self, x):
        multiplier = int(self.pick([1, 1, 2]))
        return layers.DepthwiseConv2D(
            self.pick([1, min(2, *x.shape[1:3])]),
            depth_multiplier=multiplier,
            padding=self.pick(["same", "valid"]),
            activation=self.activation(),
            use_bias=self.chance(0.7),
        )(x)

    def separable(self, x):
        return layers.SeparableConv2D(self.width(), 1, use_bias=self.chance(0.7))(x)

    def transposed(self, x):
        x = layers.Conv2DTranspose(
            self.width(), 2, strides=self.pick([1, 2]), use_bias=self.chance(0.7)
        )(x)
        return layers.Activation(self.activation())(x)

    def pooled(self, x):
        if min(x.shape[1:3]) < 2:
            return self.conv(x)
        pool = self.pick([layers.MaxPooling2D, layers.AveragePooling2D])
        return pool(2, padding=self.pick(["same", "valid"]))(x)

    def padded(self, x):
        return self.pick(
            [layers.ZeroPadding2D(1), layers.UpSampling2D(2), layers.PReLU(shared_axes=[1, 2])]
        )(x)

    def gate(self, x):
        """Squeeze and excitation."""
        width = x.shape[-1]
        g = layers.GlobalAveragePooling2D()(x)
        g = layers.Dense(2, "relu")(g)
        g = layers.Dense(width, "sigmoid")(g)
        return layers.Multiply()([x, layers.Reshape((1, 1, width))(g)])

    def reshaped(self, x):
        if len(x.shape) == 4:
            flat = layers.Reshape((x.shape[1] * x.shape[2], x.shape[3]))(x)
            return layers.Reshape(tuple(x.shape[1:]))(self.dense(flat, x.shape[-1]))
        return layers.Permute((2, 1))(layers.Permute((2, 1))(x))

    def recurrent(self, x):
        cls = self.pick([layers.SimpleRNN, layers.LSTM, layers.GRU])
        options = {"return_sequences": True, "use_bias": self.chance(0.8)}
        if cls is layers.GRU:
            options["reset_after"] = self.chance(0.5)
        layer = cls(self.width(), **options)
        if self.chance(0.3):
            return layers.Bidirectional(layer, merge_mode=self.pick(["concat", "sum", "ave"]))(x)
        return layer(x)

    def conv_lstm(self, x):
        """Of the rows of an image as time steps."""
        return layers.ConvLSTM1D(
            self.width(),
            self.pick([1, min(3, x.shape[2])]),
            padding=self.pick(["same", "valid"]),
            use_bias=self.chance(0.7),
            return_sequences=True,
        )(x)

    def scores(self, x):
        """Attention without heads, of a layer or by hand."""
        query, key = self.dense(x, 4), self.dense(x, 4)
        if self.chance(0.5):
            layer = self.pick([layers.Attention(), layers.AdditiveAttention()])
            return layer([query, x, key])
        scores = keras.ops.einsum("bqc,bkc->bqk", query, key) / 2.0
        return keras.ops.matmul(keras.ops.softmax(scores, axis=-1), x)

    def heads(self, x):
        width = self.width()
        bias = self.pick([None, "de", "e"])
        y = layers.EinsumDense("abc,cde->abde", (x.shape[1], 2, width), bias_axes=bias)(x)
        y = layers.Activation(self.activation())(y)
        bias = self.pick([None, "c", "bc"])
        return layers.EinsumDense("abde,dec->abc", (x.shape[1], self.width()), bias_axes=bias)(y)

    def states(self, x):
        """A decoder that begins where an encoder ends."""
        cls, width = self.pick([layers.LSTM, layers.GRU]), self.width()
        _, *states = cls(width, return_state=True)(x)
        return cls(width, return_sequences=True)(self.dense(x), initial_state=states)

    def attention(self, x):
        width = x.shape[-1]
        layer = layers.MultiHeadAttention(2, 3, use_bias=self.chance(0.7))
        other = self.dense(x) if self.chance(0.3) else x
        y = layer(x, other, use_causal_mask=self.chance(0.3))
        y = layers.Add()([x, y]) if self.chance(0.6) else y
        return layers.RMSNormalization()(y) if self.chance(0.4) and width > 1 else y

    def distributed(self, x):
        return layers.TimeDistributed(layers.Dense(self.width(), self.activation()))(x)

    def einsum(self, x):
        equation = self.pick(["abc,cd->abd", "abc,cd->abd", "abc,bcd->abd"])
        bias = self.pick(["d", "bd", None])
        return layers.EinsumDense(equation, (x.shape[1], self.width()), bias_axes=bias)(x)

    def residual(self, x):
        return layers.Add()([x, self.same_shape(x)])

    def merge(self, x):
        layer = self.pick(
            [layers.Average(), layers.Maximum(), layers.Minimum(), layers.Subtract()]
            + [layers.Multiply()]
        )
        return layer([self.same_shape(x), self.same_shape(x)])

    def concatenate(self, x):
        return layers.Concatenate()([x, self.same_shape(x)])

    def shared(self, x):
        layer = layers.Dense(self.width(), self.activation(), use_bias=self.chance(0.7))
        other = self.same_shape(x)
        return layers.Add()([layer(x), layer(other)])

    def constant_branch(self, x):
        """A term, a factor or an input of a concatenation that is the same for all samples."""
        branch = layers.Dense(x.shape[-1], self.activation(), use_bias=self.chance(0.8))
        self.constant.append(branch)
        parts = [x, branch(self.dense(x))]
        if self.chance(0.3):
            parts = parts[::-1]
        merges = [layers.Add(), layers.Subtract(), layers.Average(), layers.Multiply()]
        merges += [layers.Maximum(), layers.Concatenate(), lambda x: x[0] + x[1]]
        return self.pick(merges)(parts)

    def reduced(self, x):
        if len(x.shape) == 2:
            return x * keras.ops.sum(x, axis=-1, keepdims=True)
        axes = tuple(range(1, len(x.shape) - 1))
        ops = [keras.ops.mean, keras.ops.max, keras.ops.sum, keras.ops.std]
        y = self.pick(ops)(x, axis=self.pick([axes, axes[:1]]), keepdims=True)
        return keras.ops.tanh(y) * x if self.chance(0.5) else x + y

    def sliced(self, x):
        width = x.shape[-1]
        if width < 3:
            return x
        if width % 2 == 0 and self.chance(0.5):
            one, two = keras.ops.split(x, 2, axis=-1)
            return layers.Concatenate()([two, self.dense(one)])
        return self.pick([lambda x: x[..., 1:-1], lambda x: x[..., :2], lambda x: x[..., 0:1]])(x)

    def scaled(self, x):
        width = x.shape[-1]
        factors = self.rng.normal(size=width) * (self.rng.random(width) > 0.3)
        return self.pick(
            [
                layers.Rescaling(factors[None].tolist(), 0.5),
                layers.GroupNormalization(-1) if len(x.shape) > 2 else layers.Identity(),
                layers.UnitNormalization(),
                layer_scale()(0.5, width),
                lambda x: x * factors.astype("float32"),
                layers.Normalization(mean=factors.tolist(), variance=(factors**2 + 1).tolist()),
            ]
        )(x)

    def chosen(self, x):
        other = self.same_shape(x)
        if self.chance(0.5):
            return keras.ops.where(x > 0.1, other, x)
        return keras.ops.where(other > 0.1, x, 0.3)

    def nested(self, x):
        inner = keras.Input(x.shape[1:])
        y = self.same_shape(self.same_shape(inner))
        if self.chance(0.3):
            y = layers.Add()([y, inner])
        model = keras.Model(inner, y)
        if self.chance(0.3):
            units = x.shape[-1]
            model = keras.Sequential(
                [layers.Dense(4, self.activation()), layers.Dense(units)], name=None
            )
        return model(model(x)) if self.chance(0.4) else model(x)

    def wrapped(self, x):
        return kr.DropConnect(layers.Dense(self.width(), self.activation()), 0.3)(x)

    def operations(self, x):
        y = self.same_shape(x) * 2.0 - 1.0
        y = keras.ops.relu(y) + x if self.chance(0.5) else keras.ops.tanh(y) * x
        return keras.ops.concatenate([y, x], axis=-1) if self.chance(0.3) else y

    # Zeros.

    def kill(self, layer, dead):
        """Sets random weights, with some units of the layer dead and some inputs unread."""
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if "seed" in variable.path or "state" in variable.name:
                continue
            shape = tuple(variable.shape)
            value = self.rng.normal(size=shape) * (0.5 if len(shape) > 1 else 0.7)
            if "variance" in variable.name:
                value = np.abs(value) + 0.5
            for axis in range(max(0, len(shape) - 2), len(shape)):
                if self.chance(0.5):
                    zero = self.rng.random(shape[axis]) < dead
                    np.moveaxis(value, axis, 0)[zero] = 1.0 if "variance" in variable.name else 0
            variable.assign(value)


SEQUENCES = ["recurrent", "attention", "distributed", "einsum", "conv1", "reshaped", "dense"]
SEQUENCES += ["scores", "heads", "states"]
IMAGES = ["conv", "conv", "grouped", "depthwise", "separable", "transposed", "pooled", "padded"]
IMAGES += ["gate", "reshaped", "conv_lstm"]
RandomGraph.conv1 = RandomGraph.conv


def relative_error(model, small, x):
    """The largest difference of two models' outputs, relative to the largest output."""
    first, second = (
        [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(m(x, training=False))]
        for m in (model, small)
    )
    return max(
        float(np.abs(a.astype("float64") - b).max() / max(np.abs(a).max(), 1e-3))
        for a, b in zip(first, second, strict=True)
    )
