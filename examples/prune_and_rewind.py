"""Pruning in rounds, and rewinding: scikit-learn's digits with few weights.

    python examples/prune_and_rewind.py

First a trained network loses a bit more in each round, and is fine-tuned in between. Then the
lottery ticket: the zeros of the pruned network and the weights of an early epoch, trained again
(Frankle & Carbin, The Lottery Ticket Hypothesis, 2019).
"""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg as kr

ROUNDS = (0.5, 0.8, 0.9)
EPOCHS = 20
EARLY = 2


def load_data():
    x, y = load_digits(return_X_y=True)
    return train_test_split((x / 16).astype("float32"), y, test_size=0.5, random_state=0)


def network(seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(units, "relu") for units in (128, 64)]
    return keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10)])


def train(model, x, y, epochs=EPOCHS):
    """Trains the weights that are not zero, and holds the others there."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = kr.Proximal(keras.optimizers.Adam(2e-3), kr.KeepZeros())
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)


def show(name, model, x, y):
    _, accuracy = model.evaluate(x, y, batch_size=len(x), verbose=0)
    zero = kr.sparsity_report(model, weights="kernel").total.sparsity
    print(f"{name:<32}{zero:>8.1%}{accuracy:>10.1%}")


def in_rounds(x, x_test, y, y_test):
    model = network()
    train(model, x, y)
    show("trained", model, x_test, y_test)
    for sparsity in ROUNDS:
        kr.prune(model, kr.TopK(sparsity, scope="global"))
        show("pruned", model, x_test, y_test)
        train(model, x, y)
        show("  and fine-tuned", model, x_test, y_test)


def by_rewinding(x, x_test, y, y_test):
    model = network()
    train(model, x, y, EARLY)
    early = model.get_weights()
    train(model, x, y)
    kr.prune(model, kr.TopK(ROUNDS[-1], scope="global"))
    masks = [w != 0 for w in model.get_weights()]
    for name, weights in (
        ("rewound", early),
        ("the same zeros, other weights", network(seed=1).get_weights()),
    ):
        model.set_weights([w * mask for w, mask in zip(weights, masks, strict=True)])
        train(model, x, y)
        show(name, model, x_test, y_test)


def main():
    data = load_data()
    print(f"{'':<32}{'zero':>8}{'accuracy':>10}")
    in_rounds(*data)
    by_rewinding(*data)


if __name__ == "__main__":
    main()
