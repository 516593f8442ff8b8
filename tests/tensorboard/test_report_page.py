"""The report as Markdown, and as TensorBoard's server makes HTML of it."""

import html
import re
import warnings

import keras
from models import classifier

import kerasreg as kr
from kerasreg.sparsity_report import COLUMNS
from kerasreg.tensorboard.configuration import configuration_page
from kerasreg.tensorboard.report_page import report_page
from kerasreg.weights import find_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of TensorBoard's dependencies
    from tensorboard.plugin_util import markdown_to_safe_html

NAME = "a|b <em>&c *d* `e` _f_ [g](h) \\|\nk"


def cells(page):
    """The table as a reader sees it."""
    rendered = markdown_to_safe_html(page)
    assert "<em>" not in rendered
    lines = re.findall("<tr>(.*?)</tr>", rendered, re.DOTALL)
    return [
        tuple(html.unescape(cell) for cell in re.findall("<t[dh]>(.*?)</t[dh]>", line, re.DOTALL))
        for line in lines
    ]


def test_every_cell_of_the_report():
    report = kr.sparsity_report(classifier())
    expected = [COLUMNS, *(row.cells() for row in report.rows), report.total.cells()]
    assert cells(report_page(report)) == expected


def test_names_stay_plain_text():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name=NAME)], name="m")
    (row,) = kr.sparsity_report(model, "kernel").rows
    assert NAME in row.path
    assert cells(report_page(kr.sparsity_report(model, "kernel")))[1] == row.cells()
    page = configuration_page(model, find_weights(model, "kernel"))
    assert cells(page)[1][:2] == (row.path, "2 × 2")
