"""The argument `noise_shape`: the shape of a mask that is broadcast to a layer's input."""

from __future__ import annotations

from typing import Any

from kerasreg.layers.base_dropout import invalid_argument


def check_fits(layer: Any, input_shape: Any) -> None:
    """Raises unless the `noise_shape` of a layer fits the shape of its input."""
    if layer.noise_shape is None:
        return
    shape = tuple(input_shape)
    # Without `None` a shorter one is broadcast, as everywhere; `None` counts from the left.
    missing = len(shape) - len(layer.noise_shape)
    padded = (1,) * (0 if None in layer.noise_shape else missing) + layer.noise_shape
    fits = len(padded) == len(shape) and all(
        noise in (None, 1) or size is None or noise == size
        for noise, size in zip(padded, shape, strict=True)
    )
    if not fits:
        raise invalid_argument(
            "noise_shape",
            f"one entry for each axis of the input of layer '{layer.name}', each None, 1 or "
            f"the input's size, for the input shape {shape}",
            f"noise_shape={layer.noise_shape}",
        )


def check_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    """Returns `noise_shape` as a tuple, or raises if it cannot be one."""
    if noise_shape is None:
        return None
    if isinstance(noise_shape, str):
        raise invalid_argument(
            "noise_shape", "a tuple or list of integers", f"noise_shape={noise_shape!r}"
        )
    try:
        sizes: tuple[int | None, ...] = tuple(noise_shape)
    except TypeError:
        raise invalid_argument(
            "noise_shape",
            "an iterable of integers (e.g., a tuple or list)",
            f"noise_shape={noise_shape!r}",
        ) from None
    for index, size in enumerate(sizes):
        if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
            raise invalid_argument(
                "noise_shape",
                "all elements to be integers or None",
                f"element at index {index}: {size!r}",
            )
        if size is not None and size <= 0:
            raise ValueError(
                "Invalid value received for argument `noise_shape`. Expected all dimensions to be "
                "positive integers or None. "
                f"Received negative or zero value at index {index}: {size}"
            )
    return sizes
