"""onrecord: a layer-7 gateway that decides, masks and records what AI agents do in production."""

__version__ = "0.1.0"
