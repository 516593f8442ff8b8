"""The tab reads what the logger writes: one fit, and every metric of the tab is in its log."""

import keras
from helpers.event_files import read
from helpers.models import classifier, data

import kerasreg as kr
from kerasreg.statistics.weights import find_weights
from kerasreg_tensorboard.names import (
    COMPACTION_TAG,
    DEAD_PARTS,
    DEAD_UNITS,
    DROPOUT_RATE,
    METRICS,
    OF_EVERY_WEIGHT,
    OF_PENALISED,
    TOTAL_METRICS,
    TOTALS,
    WEIGHTS_TAG,
)


def test_the_logger_writes_what_the_tab_reads(tmp_path):
    groups = kr.Groups.from_labels([(".*second/bias", 0, 8), (".*norm/beta", 0, 8)])
    penalties = {".*(second/bias|norm/beta)": kr.GroupLasso(0.1, groups=groups)}
    penalties[".*first/bias"] = kr.TopK(0.5, block=(4,))
    network = classifier(optimizer=kr.Proximal(keras.optimizers.SGD(0.1), penalties))
    x, y = data()
    network.fit(x, y, 20, verbose=0, callbacks=[kr.RegularizationLogger(tmp_path)])
    tags = read(tmp_path)
    assert {WEIGHTS_TAG, COMPACTION_TAG} <= set(tags)
    assert {f"{TOTALS}/{metric}" for metric in TOTAL_METRICS} <= set(tags)
    weight = next(w for w in find_weights(network) if w.penalties and w.unit_axes)
    of_weight = (*OF_EVERY_WEIGHT, *OF_PENALISED, DEAD_UNITS)
    assert set(of_weight) < set(METRICS) and DROPOUT_RATE in METRICS
    metrics = {f"{metric}/{weight.name}" for metric in of_weight}
    assert metrics | {f"{DEAD_PARTS}/first/bias"} <= set(tags)
