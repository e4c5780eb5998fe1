"""Configs for tests: plain defaults, with a few keys changed."""

from typing import Any

from stages.engines.config import SHARED, EngineConfig, TorchConfig

DEFAULT = TorchConfig()


def make_config(**options: Any) -> EngineConfig:
    """A config of either engine with these keys changed, each in the section that has it: ``make_config(epochs=2)``."""
    sections: dict[str, Any] = {}
    for key, value in options.items():
        section = next((name for name in SHARED if key in type(getattr(DEFAULT, name)).model_fields), None)
        if section:
            sections.setdefault(section, {})[key] = value
        else:
            sections[key] = value
    return DEFAULT.updated(**sections)
