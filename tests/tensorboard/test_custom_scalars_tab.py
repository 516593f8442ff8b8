"""The Custom Scalars tab: the layout that the logger writes, with its lines drawn."""

import keras
import pytest
from helpers import dashboard
from helpers.dashboard import colourful_pixels, find_all, wait_for
from helpers.models import data

import kerasreg as kr

# What is in the files, other tests say; these, that TensorBoard shows it.
pytestmark = [*dashboard.MARKS, pytest.mark.slow]

RUNS = ("one", "two")
KERNELS = ("first/kernel", "second.layer/kernel", "last/kernel")


def of_kernels(title, metric):
    return {title: [f"{metric}/{kernel}" for kernel in KERNELS]}


# What is in a chart; of a band the middle.
CATEGORIES = {
    "Overview": {
        "Sparsity": ["all/sparsity"],
        "Data loss": ["all/data_loss", "all/val_data_loss"],
        "Penalty": ["all/penalty", "all/regularization_loss"],
        "Strength": [f"strength/{kernel}" for kernel in KERNELS],
        "Validation entropy": ["all/val_entropy"],
        "Near zero": ["all/near_zero"],
        "Data loss + penalty = total": ["all/data_loss", "all/penalty", "all/total_loss"],
    },
    "Sparsity by layer": of_kernels("Sparsity", "sparsity"),
    "Near zero by layer": of_kernels("Near zero", "near_zero"),
    "Dead units by layer": of_kernels("Dead units", "dead_units"),
    "Dead parts: inputs, heads, blocks, slices, groups": {"Dead parts": ["dead_parts/last/kernel"]},
    "Share of the penalty by layer": of_kernels("Share of the penalty", "penalty_share"),
    "Weight magnitudes: mean, root mean square, maximum": {
        kernel: [f"nonzero_rms/{kernel}"] for kernel in KERNELS
    },
}
CARDS = "tf-custom-scalar-multi-line-chart-card, tf-custom-scalar-margin-chart-card"


def model():
    sizes = {"first": 16, "second.layer": 8, "last": 3}
    layers = [keras.layers.Dense(units, name=name) for name, units in sizes.items()]
    classifier = keras.Sequential([keras.Input((6,)), *layers])
    classifier.compile(
        kr.Proximal(
            keras.optimizers.Adam(0.01),
            {
                ".*(first|layer)/kernel": kr.GroupLasso(3e-2),
                ".*last/kernel": kr.GroupLasso(3e-2, axis=0),
            },
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")],
    )
    return classifier


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    for name in RUNS:
        logger = kr.RegularizationLogger(logs / name, verbose=0)
        fit = {"validation_data": data(seed=1), "verbose": 0, "callbacks": [logger]}
        model().fit(*data(), 8, epochs=6, **fit)
    with dashboard.tensorboard(logs) as address:
        yield address


def categories(browser):
    found = find_all(browser, "tf-category-paginated-view")
    headings = [find_all(browser, "button.heading", category)[0] for category in found]
    return {heading.text.split("\n")[0]: (heading, found[i]) for i, heading in enumerate(headings)}


def cards(browser, category):
    """The charts of a category as a person reads them, by title."""
    found = find_all(browser, CARDS, category)
    found.sort(key=lambda card: (card.rect["y"], card.rect["x"]))
    return {browser.execute_script("return arguments[0].title", card): card for card in found}


def is_drawn(browser, card):
    """Whether a chart shows lines, or the band of a margin chart."""
    (plot,) = find_all(browser, "vz-line-chart2", card)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    least = 2000 if "margin" in card.tag_name else 300
    return colourful_pixels(plot.screenshot_as_png) > least


def series(browser, card):
    """The series of a chart, from the list below it."""
    (entries,) = find_all(browser, "#matches-list", card)
    lines = map(str.strip, entries.get_attribute("textContent").splitlines())
    return {line for line in lines if line.endswith(")")}


def test_categories_and_charts_are_in_order_and_every_chart_has_its_lines(server, browser):
    browser.get(f"{server}/#custom_scalars")
    wait_for(browser, lambda _: find_all(browser, CARDS))
    shown = categories(browser)
    assert list(shown) == list(CATEGORIES)
    closed = list(shown.values())[1:]
    assert not any(find_all(browser, CARDS, category) for _, category in closed)
    for heading, _ in reversed(closed):  # from below, as an open one moves those below it
        browser.execute_script("arguments[0].click()", heading)
    for title, charts in CATEGORIES.items():
        category = shown[title][1]
        wait_for(browser, lambda _, c=category: find_all(browser, CARDS, c))
        assert list(cards(browser, category)) == list(charts)
        for name, card in cards(browser, category).items():
            wait_for(browser, lambda _, c=card: is_drawn(browser, c))
            expected = {f"{tag} ({run})" for tag in charts[name] for run in RUNS}
            assert series(browser, card) == expected
