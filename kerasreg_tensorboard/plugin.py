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
from kerasreg_tensorboard.names import PLUGIN_NAME
from kerasreg_tensorboard.table import TableReader

STATIC = resources.files("kerasreg_tensorboard") / "static"
CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}


class SparsityPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """A live table of a model's weights: how sparse each is, and what its penalty does.

    Args:
        context: What TensorBoard gives its plugins.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._provider = context.data_provider
        self._compare = CompareReader(context.data_provider)

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        """The routes: the data of each view, and each static file under its exact name."""
        routes: dict[str, Callable[[Request], Response]] = {
            "/compare": self._serve_compare,
            "/table": self._serve_table,
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
        environ = request.environ
        context, experiment = plugin_util.context(environ), plugin_util.experiment_id(environ)
        runs = self._compare.read(context, experiment)
        return _respond(request, json.dumps(runs, allow_nan=False), "application/json")

    def _serve_table(self, request: Request) -> Response:
        environ = request.environ
        context, experiment = plugin_util.context(environ), plugin_util.experiment_id(environ)
        table = TableReader(self._provider, context, experiment).read(request.args.get("run"))
        return _respond(request, json.dumps(table, allow_nan=False), "application/json")


def _serve_file(name: str, request: Request) -> Response:
    content = (STATIC / name).read_text(encoding="utf-8")
    return _respond(request, content, CONTENT_TYPES[PurePath(name).suffix])


def _respond(request: Request, content: str, content_type: str) -> Response:
    response: Response = http_util.Respond(request, content, content_type)
    return response
