"""Small models of every kind that the logger has to find its way in."""

import keras
import numpy as np

import kerasreg as kr


def data(samples=40, features=6, seed=0):
    """Inputs, and class labels that depend on them."""
    x = np.random.default_rng(seed).normal(size=(samples, features)).astype("float32")
    return x, (x[:, 0] + x[:, 1] > 0).astype("int32") + (x[:, 2] > 0)


def classifier(jit_compile=False, optimizer=None, steps_per_execution=1, penalties=True):
    """Every kind of penalty, dropout and batch normalisation in one small classifier."""

    def only(penalty):
        return penalty if penalties else None

    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(
                16,
                "relu",
                kernel_regularizer=only(kr.ElasticNet(0.5, 1e-2, 1e-2)),
                bias_regularizer=only(kr.L2(1e-2)),
                activity_regularizer=only(kr.L1(1e-2)),
                name="first",
            ),
            kr.Dropout(0.25, seed=1, name="drop"),
            keras.layers.BatchNormalization(gamma_regularizer=only(kr.L1(1e-2)), name="norm"),
            keras.layers.Dense(
                8, "relu", kernel_regularizer=only(kr.GroupLasso(1e-2)), name="second"
            ),
            keras.layers.Dense(
                3, kernel_regularizer=only(keras.regularizers.L1L2(1e-2, 1e-2)), name="last"
            ),
        ],
        name="classifier",
    )
    model.compile(
        optimizer or keras.optimizers.SGD(0.1),  # Adam takes three times as long to trace
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")],
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    return model


def kitchen_sink():
    """A functional model with the layers whose weights are hard to find."""
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(4, 2, name="separable")(x)
    x = layers.Conv2DTranspose(5, 2, name="transpose")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Reshape((25, 5))(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.Bidirectional(layers.LSTM(3), name="both")(x)
    shared = layers.Dense(6, name="shared")
    x = shared(shared(x))
    block = keras.Sequential([layers.Dense(4, name="inner"), kr.Dropout(0.3)], name="block")
    x = block(x)
    words = keras.Input((3,))
    y = layers.Embedding(7, 4, name="words")(words)
    y = layers.GRU(4, name="gru")(y)
    x = layers.EinsumDense("ab,bc->ac", output_shape=2, bias_axes="c", name="einsum")(x + y)
    return keras.Model([image, words], x, name="sink")


@keras.saving.register_keras_serializable("kerasreg_tests")
class Subclassed(keras.Model):
    """Layers in attributes, lists, and layers of layers."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(4, name="same", kernel_regularizer=kr.L1(0.1))
        self.blocks = [keras.layers.Dense(4, name="same"), Block()]

    def call(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


class Block(keras.layers.Layer):
    """A layer with a layer and a weight of its own."""

    def __init__(self):
        super().__init__(name="block")
        self.dense = keras.layers.Dense(3, name="dense")

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.gain = self.add_weight(shape=(3,), name="gain")
        self.built = True

    def call(self, x):
        return self.dense(x) * self.gain
