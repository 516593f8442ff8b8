"""The plugin that TensorBoard's server loads."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from importlib import resources
from pathlib import PurePath
from typing import Any

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import Request, Response

from kerasreg_tensorboard.compare import CompareReader
from kerasreg_tensorboard.names import METRICS, PLUGIN_NAME
from kerasreg_tensorboard.network import read_network
from kerasreg_tensorboard.table import Source, TableReader

STATIC = resources.files("kerasreg_tensorboard") / "static"
CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}


class SparsityPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """A live table of a model's weights: how sparse each is, and what its penalty does.

    Args:
        context: What TensorBoard gives its plugins.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._compare = CompareReader(context.data_provider)
        self._table = TableReader(context.data_provider)

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        """The routes: the data of each view, and each static file under its exact name."""
        routes: dict[str, Callable[[Request], Response]] = {
            "/compare": self._serve_compare,
            "/table": self._serve_table,
            "/columns": self._serve_columns,
            "/rows": self._serve_rows,
            "/network": self._serve_network,
        }
        for file in STATIC.iterdir():
            routes[f"/{file.name}"] = functools.partial(_serve_file, file.name)
        return {path: Request.application(route) for path, route in routes.items()}

    def is_active(self) -> bool:
        """Whether the tab shows even where no run has data of this plugin."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab's name and the module that draws it."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Sparsity")

    def _serve_compare(self, request: Request) -> Response:
        source = _source(request)
        return _respond_json(request, self._compare.read(source.context, source.experiment))

    def _serve_table(self, request: Request) -> Response:
        known = request.args.get("known")
        return _respond_json(request, self._table.overview(_source(request), _step(request), known))

    def _serve_columns(self, request: Request) -> Response:
        asked = (_metrics(request), _step(request))
        return _respond_json(request, self._table.columns(_source(request), *asked))

    def _serve_rows(self, request: Request) -> Response:
        asked = (_metrics(request), _step(request), request.args.getlist("weight", type=int))
        return _respond_json(request, self._table.rows(_source(request), *asked))

    def _serve_network(self, request: Request) -> Response:
        known = request.args.get("known")
        answer = read_network(self._table, _source(request), _step(request), known)
        return _respond_json(request, answer)


def _source(request: Request) -> Source:
    environ, run = request.environ, request.args.get("run", "")
    return Source(plugin_util.context(environ), plugin_util.experiment_id(environ), run)


def _step(request: Request) -> int | None:
    return request.args.get("step", type=int)


def _metrics(request: Request) -> list[str]:
    """The metrics that are asked for, of those that there are."""
    asked = set(request.args.getlist("metric"))
    return [metric for metric in METRICS if metric in asked]


def _serve_file(name: str, request: Request) -> Response:
    content = (STATIC / name).read_text(encoding="utf-8")
    return _respond(request, content, CONTENT_TYPES[PurePath(name).suffix])


def _respond_json(request: Request, answer: Any) -> Response:
    content = json.dumps(answer, allow_nan=False, separators=(",", ":"))
    return _respond(request, content, "application/json")


def _respond(request: Request, content: str, content_type: str) -> Response:
    response: Response = http_util.Respond(request, content, content_type)
    return response
