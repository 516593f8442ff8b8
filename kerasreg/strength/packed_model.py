"""A plan and its model as bytes, for another process, with the classes that only this one has."""

from __future__ import annotations

import dataclasses
import pickle
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import keras

from kerasreg._backends import float_settings, set_float_settings
from kerasreg._checks import invalid_value
from kerasreg._keras_internals import all_layers, given_metrics, innermost_optimizer
from kerasreg.regularizers.penalty_map import match_penalties
from kerasreg.strength.plan import Plan
from kerasreg.strength.samples import Samples

# Whose objects every process finds by itself.
_FOUND_EVERYWHERE = ("keras", "kerasreg", "builtins")


@dataclass(frozen=True)
class PackedModel:
    """A plan without its samples, and its model as Keras saves it.

    Args:
        plan: The plan, without model and samples.
        model: The model, pickled.
        penalties: For each of the plan's penalties that is a dict, the one of each trainable
            weight: in the other process weights may have other paths.
        custom_objects: What the model is made of that is not Keras's, by the names in its file.
        keras_settings: Names of functions of `keras.config` that set, and what.
        floats: The backend's own settings.
    """

    plan: Plan
    model: bytes
    penalties: list[list[Any] | None]
    custom_objects: dict[str, Any]
    keras_settings: dict[str, Any]
    floats: dict[str, Any]

    @classmethod
    def of(cls, plan: Plan) -> PackedModel:
        """Packs; raises if the model, or a callback, is none that can be sent."""
        try:
            objects = _custom_objects(plan.model)
            model = pickle.dumps(plan.model)
        except Exception as error:  # Whatever one's own layer may raise.
            expected = (
                "None or 1 for a model that Keras cannot save and load, as it is sent to other "
                f"processes ({type(error).__name__}: {error})"
            )
            raise invalid_value("n_jobs", expected, plan.model) from error
        settings = {
            "set_floatx": keras.config.floatx(),
            "set_epsilon": keras.config.epsilon(),
            "set_image_data_format": keras.config.image_data_format(),
            "set_dtype_policy": keras.config.dtype_policy(),
        }
        without = dataclasses.replace(
            plan, model=None, samples=Samples(None, None), validation=None
        )
        weights = plan.model.trainable_variables
        chosen = [
            match_penalties(penalty, weights) if isinstance(penalty, Mapping) else None
            for penalty in plan.penalties
        ]
        return cls(without, model, chosen, objects, settings, float_settings())

    def apply_settings(self) -> None:
        """Gives this process the settings of the one that packed."""
        for name, value in self.keras_settings.items():
            getattr(keras.config, name)(value)
        set_float_settings(self.floats)

    def unpack(self, samples: Samples, validation: Samples | None) -> Plan:
        """The plan as it was; to be called, and used, in a scope of the custom objects."""
        with warnings.catch_warnings():
            # The state of the model's own optimizer is not needed, and not always there.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            model = pickle.loads(self.model)
        paths = [re.escape(weight.path) for weight in model.trainable_variables]
        penalties = [
            penalty if chosen is None else _by_path(penalty, chosen, paths)
            for penalty, chosen in zip(self.plan.penalties, self.penalties, strict=True)
        ]
        return dataclasses.replace(
            self.plan, model=model, penalties=penalties, samples=samples, validation=validation
        )


def _by_path(
    penalties: Mapping[str, Any], chosen: Sequence[Any], paths: Sequence[str]
) -> dict[str, Any]:
    """The same penalties for weights of these paths; the first stays the first."""
    return {
        path: penalty
        for penalty in penalties.values()
        for path, own in zip(paths, chosen, strict=True)
        if own is penalty
    }


def _custom_objects(model: Any) -> dict[str, Any]:
    """All classes and functions in a model's file that are not Keras's, by their names there."""
    owners = [*all_layers(model), innermost_optimizer(model.optimizer)]
    parts = [part for owner in owners for part in (owner, *vars(owner).values())]
    parts += keras.tree.flatten([model.loss, given_metrics(model)])
    kinds = [part if isinstance(part, FunctionType) else type(part) for part in parts]
    found: dict[str, Any] = {
        keras.saving.get_registered_name(kind): kind
        for kind in kinds
        if _is_custom(kind.__module__) and kind.__name__ != "<lambda>"
    }
    # And what lies within those, as far as it is registered, or in a module.
    for entry in _entries(keras.saving.serialize_keras_object(model)):
        module, name = entry["module"], entry["registered_name"]
        if name is not None and _is_custom(module) and name not in found:
            known = keras.saving.get_registered_object(name)
            found[name] = known or getattr(sys.modules.get(module), name, None)
    return {name: kind for name, kind in found.items() if kind is not None}


def _is_custom(module: Any) -> bool:
    return isinstance(module, str) and module.split(".")[0] not in _FOUND_EVERYWHERE


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """All serialised objects within a configuration."""
    if isinstance(config, dict):
        if {"module", "class_name", "config", "registered_name"} <= config.keys():
            yield config
        for value in config.values():
            yield from _entries(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _entries(value)
