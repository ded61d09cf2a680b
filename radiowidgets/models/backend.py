"""Keras and its backend, or what to install where they are missing: what is made of layers takes them from here."""

from radiowidgets.errors import MissingExtraError

try:
    import keras
    from keras import layers, ops
except ImportError as error:
    raise MissingExtraError(
        "networks need Keras and a backend: pip install 'radiowidgets[deep]', or keras with jax or torch."
    ) from error

__all__ = ["keras", "layers", "ops"]
