"""The version: that of the gateway this client is released with."""

__version__ = "0.1.0"
