"""The tab reads what the logger writes: one fit, and every metric of the tab is in its log."""

from helpers.event_files import read
from helpers.models import classifier, data

import kerasreg as kr
from kerasreg.statistics.weights import find_weights
from kerasreg_tensorboard.names import COMPACTION_TAG, METRICS, TOTAL_METRICS, TOTALS, WEIGHTS_TAG


def test_the_logger_writes_what_the_tab_reads(tmp_path):
    network, (x, y) = classifier(), data()
    network.fit(x, y, 20, verbose=0, callbacks=[kr.RegularizationLogger(tmp_path)])
    tags = read(tmp_path)
    assert {WEIGHTS_TAG, COMPACTION_TAG} <= set(tags)
    assert {f"{TOTALS}/{metric}" for metric in TOTAL_METRICS} <= set(tags)
    weight = next(w for w in find_weights(network) if w.penalties and w.unit_axes)
    assert {f"{metric}/{weight.name}" for metric in METRICS} <= set(tags)
