"""How random the masks are, beside masks of NumPy's PCG64 that go through the same code.

    KERAS_BACKEND=jax python benchmarks/mask_statistics.py

The words are the same on all backends, and JAX draws them fastest. A number whose probability is
below 1e-5 for ideal words is marked with `!` and makes the exit status 1; by chance that happens
to one of the 90 numbers in one run of a thousand. The same goes for a fraction kept that is off
by more than 4 standard errors. Runs with the same `--seed` print the same.

For the batteries of others the words themselves, as raw bytes:

    python benchmarks/mask_statistics.py --words 1000000000 | dieharder -a -g 200
    python benchmarks/mask_statistics.py --words 1000000000 --each 1024 | RNG_test stdin32

The words of one mask are all different, for the hash is a permutation of the index. A battery that
looks for repeated words (ideal ones would have 2048 among the 4M of a mask) notices it if `--each`
is as large; a test that sees only the mask, not its words, cannot.
"""

import argparse
import math
import os
import sys

import keras
import numpy as np
from keras import ops
from scipy import fft, stats

import kerasreg as kr
from kerasreg.layers.masks import counter_hash, drawing, fusion
from kerasreg.layers.masks.seed import MaskSeed

SIZE, MASKS = 1 << 22, 24
RATES = (0.3, 0.5)
KEPT_RATES, KEPT_STATES = (0.01, 0.1, 0.3, 0.5, 0.9, 0.999), 25
IMPROBABLE = 1e-5
STANDARD_ERRORS = 4.0
BYTES = ("lowest", "second", "third", "highest")


@fusion.compiled
def draw(_, state):
    return drawing.random_words(state, (SIZE,))


@fusion.compiled
def kept(_, state):
    return drawing.keep_mask(state, (SIZE,))


@fusion.compiled
def draw_rows(_, state):
    return counter_hash.hashed_words(state, (MASKS + 1, SIZE))


def to_words(tensor):
    return np.asarray(ops.convert_to_numpy(tensor)).view("uint32")


def words_of(generator):
    return to_words(draw(ops.zeros(()), generator.next()))


def successive_masks(seed):
    """Masks of one layer, step after step."""
    generator = MaskSeed(seed)
    for _ in range(MASKS + 1):
        yield words_of(generator)


def successive_seeds(seed):
    """First masks of layers with the seeds 1, 2, 3, ..."""
    for number in range(MASKS + 1):
        yield words_of(MaskSeed(seed + number))


def layers_of_a_model(seed):
    """First masks of a model's layers that have no seeds of their own."""
    keras.utils.set_random_seed(seed)
    for _ in range(MASKS + 1):
        yield words_of(kr.Dropout(0.5).seed_generator)


def rows_of_a_tensor(seed):
    """Parts of a tensor with more elements than the counter has values, as if that were 4M."""
    limit, counter_hash.COUNTER_LIMIT = counter_hash.COUNTER_LIMIT, SIZE
    try:
        yield from to_words(draw_rows(ops.zeros(()), MaskSeed(seed).next()))
    finally:
        counter_hash.COUNTER_LIMIT = limit


def by_pcg64(seed):
    generator = np.random.default_rng(seed)
    for _ in range(MASKS + 1):
        yield generator.integers(1 << 32, size=SIZE, dtype="uint32")


FAMILIES = {
    "steps of a layer": successive_masks,
    "successive seeds": successive_seeds,
    "layers of a model": layers_of_a_model,
    "rows of a tensor": rows_of_a_tensor,
    "PCG64": by_pcg64,
}


class Largest:
    """The largest of some standard normal numbers, and how probable one as large is."""

    def __init__(self):
        self.value, self.count = 0.0, 0

    def add(self, numbers):
        """Looks at more numbers."""
        numbers = np.abs(np.atleast_1d(numbers))
        self.value = max(self.value, float(numbers.max()))
        self.count += numbers.size

    @property
    def probability(self):
        """That one of them is at least as large."""
        return -math.expm1(self.count * math.log1p(-2 * stats.norm.sf(self.value)))

    @property
    def ideal(self):
        """The median of the largest of so many."""
        median = stats.norm.isf(-math.expm1(math.log(0.5) / self.count) / 2)
        return f"{median:.2f}"

    def __str__(self):
        return f"{self.value:.2f}"


class ChiSquare:
    """Counts against their expectations, summed up over the masks."""

    ideal = "0 to 1"

    def __init__(self, probabilities):
        self.probabilities, self.counts = probabilities, np.zeros(len(probabilities), "int64")

    def add(self, numbers):
        """Counts more numbers."""
        self.counts += np.bincount(numbers, minlength=len(self.counts))

    @property
    def value(self):
        """The sum of squares."""
        expected = self.probabilities * self.counts.sum()
        return float(((self.counts - expected) ** 2 / expected).sum())

    @property
    def probability(self):
        """That of a sum of squares as extreme: too even is as wrong as too uneven."""
        distribution = stats.chi2(len(self.counts) - 1)
        return 2 * min(distribution.sf(self.value), distribution.cdf(self.value))

    def __str__(self):
        return f"{self.probability:.2g}"


def spectrum(mask, rate):
    """The Fourier transform of a mask that is scaled to mean 0, variance 1 and norm 1."""
    scaled = (mask - (1 - rate)) / math.sqrt(rate * (1 - rate) * mask.size)
    return fft.rfft(scaled, workers=os.cpu_count())


def correlations(one, other):
    """All circular correlations of two masks, in standard errors."""
    return fft.irfft(one * other.conj(), workers=os.cpu_count()) * math.sqrt(SIZE)


def dispersion(mask, rate, length):
    """How much the number kept among `length` neighbours varies, in standard errors."""
    number = mask.reshape(-1, length).sum(1)
    variance = length * rate * (1 - rate)
    squares = ((number - length * (1 - rate)) ** 2 / variance).mean()
    kurtosis = 3 + (1 - 6 * rate * (1 - rate)) / variance
    return (squares - 1) / math.sqrt((kurtosis - 1) / number.size)


def pattern_probabilities(rate):
    ones = np.array([pattern.bit_count() for pattern in range(256)])
    return (1 - rate) ** ones * rate ** (8 - ones)


def statistics_of(family, rate):
    """The statistics of the masks of one rate, by name."""
    table = {
        name: Largest()
        for name in (
            "mean (SE)",
            "variance of 64-sums (SE)",
            "variance of 4096-sums (SE)",
            "all autocorrelations (SE)",
            "with next mask (SE)",
            "with it, all shifts (SE)",
        )
    }
    table["patterns of 8 (p)"] = ChiSquare(pattern_probabilities(rate))
    mean, narrow, wide, own, next_mask, all_lags = list(table.values())[:6]
    previous = None
    for words in family:
        # As `keep_mask`, to which the words are signed numbers.
        mask = words ^ np.uint32(1 << 31) >= round(rate * 2**32)
        mean.add((mask.mean() - (1 - rate)) / math.sqrt(rate * (1 - rate) / SIZE))
        narrow.add(dispersion(mask, rate, 64))
        wide.add(dispersion(mask, rate, 4096))
        table["patterns of 8 (p)"].add(np.packbits(mask))
        here = spectrum(mask, rate)
        # The second half of the lags is the first backwards.
        own.add(correlations(here, here)[1 : SIZE // 2 + 1])
        if previous is not None:
            across = correlations(here, previous)
            next_mask.add(across[0])
            all_lags.add(across)
        previous = here
    return table


def bytes_of(family):
    """Chi-square statistics of the four bytes of the words."""
    table = {f"{name} byte (p)": ChiSquare(np.full(256, 1 / 256)) for name in BYTES}
    for words in family:
        for place, statistic in enumerate(table.values()):
            statistic.add(words >> np.uint32(8 * place) & np.uint32(255))
    return table


def report(title, tables):
    """Prints statistics, a column for each family, and returns how many are out of line."""
    print(f"{title:28}" + "".join(f"{name:>18}" for name in (*tables, "ideal")))
    wrong = 0
    for name in next(iter(tables.values())):
        print(f"  {name:26}", end="")
        for table in tables.values():
            improbable = table[name].probability < IMPROBABLE
            wrong += improbable
            print(f"{f'{table[name]}!' if improbable else table[name]!s:>18}", end="")
        print(f"{table[name].ideal:>18}", flush=True)
    return wrong


def report_fraction_kept(rate, seed):
    """The same for the fraction that masks of a rate keep, over 10^8 draws."""
    generator = MaskSeed(seed)
    generator.set_rate(rate)
    number = KEPT_STATES * SIZE
    draws = (kept(ops.zeros(()), generator.next()) for _ in range(KEPT_STATES))
    fraction = sum(int(np.count_nonzero(ops.convert_to_numpy(mask))) for mask in draws) / number
    error = (fraction - (1 - rate)) / math.sqrt(rate * (1 - rate) / number)
    wrong = abs(error) > STANDARD_ERRORS
    mark = "!" if wrong else ""
    print(f"  rate {rate:<5} kept {fraction:.6f}, {error:+.2f} standard errors{mark}", flush=True)
    return wrong


def report_all(seed):
    print(f"{MASKS + 1} masks of {SIZE:,} elements; (SE): the largest, in standard errors")
    wrong = 0
    for rate in RATES:
        tables = {name: statistics_of(family(seed), rate) for name, family in FAMILIES.items()}
        wrong += report(f"rate {rate}", tables)
    wrong += report("words", {name: bytes_of(family(seed)) for name, family in FAMILIES.items()})
    print(f"fraction kept over {KEPT_STATES * SIZE:,} draws")
    wrong += sum(report_fraction_kept(rate, seed) for rate in KEPT_RATES)
    print(f"{wrong} out of line" if wrong else "all in line")
    return wrong


def write_words(number, each, seed):
    """Writes raw words, `each` of one mask and then as many of the next."""
    together = max(1, SIZE // each)

    @fusion.compiled
    def draw_several(_, states):
        return ops.vectorized_map(lambda state: counter_hash.hashed_words(state, (each,)), states)

    for count in range(0, number, together * each):
        first = count // each
        states = np.array([[seed, first + i, 0] for i in range(together)], "uint32")
        states = ops.convert_to_tensor(states.astype(MaskSeed(seed).state.dtype))
        words = to_words(draw_several(ops.zeros(()), states)).ravel()
        try:
            sys.stdout.buffer.write(words[: number - count].data)
        except BrokenPipeError:  # The battery has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--words", type=int, help="write that many raw words instead of a table")
    parser.add_argument("--each", type=int, default=SIZE, help="words to take from one mask")
    args = parser.parse_args()
    if args.words is not None:
        write_words(args.words, args.each, args.seed)
    elif report_all(args.seed):
        sys.exit(1)


if __name__ == "__main__":
    main()
