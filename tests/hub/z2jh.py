"""As the chart's own module of this name: a value by its path."""

import functools
from pathlib import Path

import yaml


@functools.cache
def _values():
    return yaml.safe_load(Path(__file__).with_name("values.yaml").read_text())


def get_config(path, default=None):
    value = _values()
    for name in path.split("."):
        value = (value or {}).get(name)
    return default if value is None else value
