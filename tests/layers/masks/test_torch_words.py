"""The pieces and the autograd functions that PyTorch's masks are made of."""

import threading

import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.mask_words import numpy_mask, numpy_scale, numpy_words, to_state

from kerasreg.layers.masks import counter_hash, drawing, torch_words
from kerasreg.layers.masks.torch_words import PIECE_SIZE, SMALL_SIZE

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(BACKEND != "torch", reason="about PyTorch's tensors")

RATE = 0.3
LAYOUTS = {
    "transposed": lambda x: x.T,
    "strided": lambda x: x[::2, 1:],
    "expanded": lambda x: x[:, :1].expand(-1, 300),
    "channels last": lambda x: x.view(4, 2, -1, 10).contiguous(memory_format=torch.channels_last),
}
# Below and above SMALL_SIZE, which take different ways.
SIZES = [(40, 50), (400, 500)]


def numbers(shape, dtype="float32"):
    x = np.random.default_rng(0).normal(size=shape)
    return torch.tensor(x, dtype=getattr(torch, dtype))


def scaled_mask(shape):
    return numpy_scale(RATE) * numpy_mask(1, 2, shape, RATE)


def drop(x):
    return drawing.drop(x, to_state(1, 2, RATE))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SIZES)
def test_memory_that_is_not_contiguous(shape, layout):
    base = numbers(shape).requires_grad_()
    x = LAYOUTS[layout](base)
    y = drop(x)
    right = x.detach().numpy() * scaled_mask(x.shape)
    np.testing.assert_allclose(y.detach().numpy(), right, rtol=2e-7)
    (y**2).sum().backward()
    twin = base.detach().clone().requires_grad_()
    mask = torch.tensor(scaled_mask(x.shape), dtype=torch.float32)
    ((LAYOUTS[layout](twin) * mask) ** 2).sum().backward()
    np.testing.assert_allclose(base.grad.numpy(), twin.grad.numpy(), rtol=1e-5)
    np.testing.assert_array_equal(base.detach().numpy(), twin.detach().numpy())


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradient_modes(context, shape):
    x = numbers(shape).requires_grad_()
    with context():
        y = drop(x)
        assert y.requires_grad == torch.is_grad_enabled()
    right = x.detach().numpy() * scaled_mask(shape)
    np.testing.assert_allclose(y.detach().numpy(), right, rtol=2e-7)


def test_training_after_a_first_mask_in_inference_mode():
    """In a thread of its own, which has made no buffers yet."""
    slopes = []

    def draw():
        x = numbers((2, PIECE_SIZE)).requires_grad_()
        with torch.inference_mode():
            drop(x)
        drop(x).sum().backward()
        slopes.append(x.grad.numpy())

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    np.testing.assert_allclose(slopes[0], scaled_mask((2, PIECE_SIZE)), rtol=2e-7)


@pytest.mark.parametrize("shape", SIZES)
def test_functional_gradients(shape):
    x, mask = numbers(shape), scaled_mask(shape)
    slope = torch.func.grad(lambda x: (drop(x) ** 3).sum())
    np.testing.assert_allclose(slope(x).numpy(), 3 * x.numpy() ** 2 * mask**3, rtol=1e-6)
    second = torch.func.grad(lambda x: slope(x).sum())(x)
    np.testing.assert_allclose(second.numpy(), 6 * x.numpy() * mask**3, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (4, SMALL_SIZE // 4 + 1)])
def test_derivatives_against_finite_differences(shape):
    x = numbers(shape, "float64").requires_grad_()
    pick = torch.linspace(0, x.numel() - 1, 12, dtype=torch.int64)

    def some(few):
        return drop(x.detach().view(-1).index_put((pick,), few).view(shape)).view(-1)[pick]

    few = x.detach().view(-1)[pick].requires_grad_()
    assert torch.autograd.gradcheck(some, few)
    assert torch.autograd.gradgradcheck(some, few)


def test_a_large_mask_is_stored_as_bytes():
    stored = []
    x = numbers((400, 500)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t) or t, lambda t: t):
        drop(x)
    assert [(t.dtype, t.numel()) for t in stored] == [(torch.int8, x.numel())]


def test_the_mask_outlives_the_memory_of_its_pieces():
    """Another mask is drawn between the two passes, by the same buffers."""
    x = numbers((3, PIECE_SIZE)).requires_grad_()
    y = drop(x)
    words = drawing.random_words(to_state(1, 2), (50,))
    drawing.random_words(to_state(9, 9), (2 * PIECE_SIZE,))
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), scaled_mask(x.shape), rtol=2e-7)
    np.testing.assert_array_equal(words.numpy(), numpy_words(1, 2, (50,)))


def test_threads_have_buffers_of_their_own():
    shape, drawn = (3, PIECE_SIZE), {}

    def draw(seed):
        drawn[seed] = [drawing.random_words(to_state(seed, count), shape) for count in range(3)]

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        for count, words in enumerate(drawn[seed]):
            np.testing.assert_array_equal(words.numpy(), numpy_words(seed, count, shape))


def test_rows_of_a_tensor_with_more_elements_than_a_counter_has_values(monkeypatch):
    monkeypatch.setattr(counter_hash, "COUNTER_LIMIT", PIECE_SIZE + 5)
    x = torch.ones(2, 3, PIECE_SIZE + 5, requires_grad=True)
    y = drop(x)
    right = numpy_scale(RATE) * numpy_mask(1, 2, x.shape, RATE, rows=2)
    np.testing.assert_allclose(y.detach().numpy(), right, rtol=2e-7)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), right, rtol=2e-7)


class Accelerator(str):
    """A device that says it is none of the processor's, and is."""

    type = "other"


class StateElsewhere:
    """A state on such a device."""

    device = Accelerator("cpu")

    def __init__(self, *words):
        self.words = to_state(*words)

    def tolist(self):
        return self.words.tolist()


def test_the_generator_of_other_devices():
    shape = (300, 400)
    states = [(1, 2), (1, 3), (2, 2), (2**32 - 1, 2**32 - 1), (2**31 - 1, 2**32 - 1)]
    before = torch.get_rng_state()
    drawn = [torch_words.random_words(StateElsewhere(*words), shape) for words in states]
    assert torch.equal(torch.get_rng_state(), before)
    again = torch_words.random_words(StateElsewhere(*states[0]), shape)
    np.testing.assert_array_equal(again.numpy(), drawn[0].numpy())
    bits = [np.unpackbits(words.numpy().view("uint8").ravel()) * 2.0 - 1 for words in drawn[:4]]
    correlation = np.array(bits) @ np.transpose(bits) / np.sqrt(len(bits[0]))
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5
    for words in drawn:
        assert words.dtype == torch.int32
        uniform = to_numpy(words) / 2**32
        assert abs(uniform.mean()) < 5 / np.sqrt(12 * uniform.size)
        assert uniform.min() < -0.4999 and uniform.max() > 0.4999
