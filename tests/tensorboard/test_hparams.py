"""What goes into the HPARAMS tab, as data."""

import keras
import numpy as np
import pytest
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

import kerasreg as kr
from kerasreg.tensorboard import hparams


@pytest.mark.parametrize(
    "value, plain",
    [
        (True, True),
        (np.bool_(False), False),
        (3, 3),
        (np.int64(3), 3),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        ("adam", "adam"),
        (np.str_("adam"), "adam"),
        (kr.L1(0.001), "L1(l1=0.001)"),
        (keras.regularizers.L2(0.5), "keras.L2(l2=0.5)"),
    ],
)
def test_values_become_plain(value, plain):
    checked = hparams.check_hparams("hparams", {"a": value})["a"]
    assert checked == plain and type(checked) is type(plain)


BAD_VALUES = [
    None,
    [1],
    "half of a pair: \ud800",
    np.ones(1),
    np.nan,
    float("inf"),
    1j,
    10**400,
    b"x",
    kr.L1,
    {},
]


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
def test_a_bad_value_is_named(value):
    with pytest.raises(ValueError, match=r"`hparams\['b'\]`. Expected a boolean, a finite"):
        hparams.check_hparams("hparams", {"a": 1, "b": value})


@pytest.mark.parametrize(
    "value", [3, True, 0, "L1", [("a", 1)], {1: 2}, {"": 2}, {"\udc00": 2}], ids=repr
)
def test_it_has_to_be_a_dict_of_names(value):
    with pytest.raises(ValueError, match="`hparams`. Expected a dict with names as keys"):
        hparams.check_hparams("hparams", value)


def test_what_the_model_tells_and_no_row():
    assert hparams.check_hparams("hparams", None) is None
    assert hparams.check_hparams("hparams", False) is False


VALUES = {"flag": True, "units": 3, "strength": 0.0, "penalty": "L1"}


def content(summary):
    (value,) = summary.value
    return value.metadata.plugin_data.content


def test_session_start():
    summary = summary_pb2.Summary()
    hparams.add_session_start(summary, VALUES | {"unknown": None})
    start = hparams_metadata.parse_session_start_info_plugin_data(content(summary))
    found = {key: getattr(v, v.WhichOneof("kind")) for key, v in start.hparams.items()}
    assert found == VALUES and found["flag"] is True
    assert start.group_name == ""


@pytest.mark.parametrize("ok, status", [(True, "STATUS_SUCCESS"), (False, "STATUS_FAILURE")])
def test_session_end(ok, status):
    summary = summary_pb2.Summary()
    hparams.add_session_end(summary, ok)
    end = hparams_metadata.parse_session_end_info_plugin_data(content(summary))
    assert api_pb2.Status.Name(end.status) == status


def test_experiment():
    summary = summary_pb2.Summary()
    metrics = [hparams.metric("all/a", "a"), hparams.metric("epoch_a", "of Keras", "validation")]
    hparams.add_experiment(summary, VALUES | {"unknown": None}, metrics)
    experiment = hparams_metadata.parse_experiment_plugin_data(content(summary))
    types = {info.name: api_pb2.DataType.Name(info.type) for info in experiment.hparam_infos}
    assert types == {
        "flag": "DATA_TYPE_BOOL",
        "units": "DATA_TYPE_FLOAT64",
        "strength": "DATA_TYPE_FLOAT64",
        "penalty": "DATA_TYPE_STRING",
        "unknown": "DATA_TYPE_FLOAT64",
    }
    # A domain of one run's values would filter all other runs away.
    assert not any(info.WhichOneof("domain") for info in experiment.hparam_infos)
    columns = [(m.name.group, m.name.tag, m.display_name) for m in experiment.metric_infos]
    assert columns == [("", "all/a", "a"), ("validation", "epoch_a", "of Keras")]
