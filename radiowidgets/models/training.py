"""What every training shares: batches in a seeded order, checkpoints from which it goes on exactly, the best epoch.

Histories are kept epoch by epoch as Keras names them (``loss``, ``val_loss``, ...). An epoch that was not finished
leaves no trace: it is done again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from radiowidgets.errors import ParameterError, RunError

STATE = "state.json"
BEST = "best.weights.h5"
History = dict[str, list[float]]


class Batches(keras.utils.PyDataset):
    """Frames in batches of one size, shuffled anew each epoch by (seed, epoch): the order needs no memory.

    Parameters
    ----------
    frames : array, shape (n, h, w, channels) or (n, k, h, w, channels)
        In memory or memory-mapped; uint8 stands for 0 to 1 in 255 steps.
    labels : array of (n, ...), optional
    """

    def __init__(
        self, frames: Any, batch_size: int, seed: int = 0, labels: Any = None, first_epoch: int = 0
    ) -> None:
        super().__init__()
        if len(frames) < batch_size:
            raise ParameterError(
                f"{len(frames)} frames do not fill a batch of {batch_size}; give more frames or a smaller batch."
            )
        self.frames, self.labels = frames, labels
        self.batch_size, self.seed, self.epoch = batch_size, seed, first_epoch
        self._shuffle()

    def __len__(self) -> int:
        return len(self.frames) // self.batch_size

    def __getitem__(self, place: int) -> Any:
        chosen = np.sort(self.order[place * self.batch_size : (place + 1) * self.batch_size])
        frames = self.frames[chosen]
        if frames.dtype == np.uint8:
            frames = frames.astype(np.float32) / np.float32(255)
        return (frames,) if self.labels is None else (frames, self.labels[chosen])

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        self.order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.frames))


class Epochs(keras.callbacks.Callback):
    """Base of callbacks that act after each whole epoch; one that was stopped within calls nothing."""

    _last_batch = -1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin to count batches."""
        del epoch, logs
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count."""
        del logs
        self._last_batch = batch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Hand a whole epoch on."""
        if self._last_batch + 1 >= (self.params.get("steps") or 0):
            self.after_epoch(epoch, {name: float(value) for name, value in (logs or {}).items()})

    def after_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Act after epoch `epoch`, counted from 0."""
        raise NotImplementedError


class Keep(Epochs):
    """Note what each epoch gave, in a history that may have begun before; a loss that is no number ends it."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history

    def after_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Add one entry to each line."""
        if not np.isfinite(logs.get("loss", 0.0)):
            raise ParameterError(
                f"the loss of epoch {epoch + 1} is {logs['loss']}; give a smaller learning rate, and images that are "
                "finite."
            )
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class Best(Epochs):
    """Keep the weights of the epoch with the least validation loss; stop where none was better for a while.

    Parameters
    ----------
    history
        Of a `Keep` that comes before.
    patience
        Epochs.
    folder
        Where the weights are kept; None keeps them in memory.
    """

    def __init__(self, history: History, patience: int, folder: Path | None = None) -> None:
        super().__init__()
        self.history, self.patience, self.folder = history, patience, folder
        self._weights: list[Any] | None = None

    @property
    def epoch(self) -> int:
        """The best epoch, from 0."""
        return int(np.nanargmin(self.history["val_loss"]))

    @property
    def over(self) -> bool:
        """Whether the last `patience` epochs brought nothing."""
        losses = self.history.get("val_loss", [])
        return bool(losses) and len(losses) - 1 - self.epoch >= self.patience

    def after_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Keep the weights if they are the best; stop if they have not been for long."""
        if not np.isfinite(logs["val_loss"]):
            raise ParameterError(
                f"the validation loss of epoch {epoch + 1} is {logs['val_loss']}; give a smaller learning rate, "
                "and images that are finite."
            )
        if self.epoch == epoch and self.folder is not None:
            beside = self.folder / "writing.weights.h5"
            self.model.save_weights(beside, overwrite=True)
            beside.replace(self.folder / BEST)
        elif self.epoch == epoch:
            self._weights = self.model.get_weights()
        if self.over:
            self.model.stop_training = True

    def restore(self, model: keras.Model) -> None:
        """Give the model the weights of the best epoch, if one was finished."""
        if self.folder is not None and (self.folder / BEST).exists():
            _load(model, self.folder / BEST)
        elif self._weights is not None:
            model.set_weights(self._weights)


class Checkpoint(Epochs):
    """Write all state at the end of each epoch: weights, optimizer, seeds; history and seconds so far as JSON.

    A stop at any moment leaves the last whole epoch: files are written beside and then renamed.
    """

    def __init__(self, folder: Path, about: dict[str, Any], history: History, seconds: float = 0.0) -> None:
        super().__init__()
        self.folder, self.about, self.history = folder, about, history
        self.begun = time.monotonic() - seconds

    def after_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the state."""
        del logs
        weights = self.folder / f"epoch-{epoch + 1:05d}.weights.h5"
        beside = self.folder / "writing.weights.h5"
        self.model.save_weights(beside, overwrite=True)
        beside.replace(weights)
        state = self.about | {"epoch": epoch + 1, "weights": weights.name, "history": self.history}
        state["seconds"] = time.monotonic() - self.begun
        state["seeds"] = [np.asarray(variable).tolist() for variable in _seeds(self.model)]
        (self.folder / "writing.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
        (self.folder / "writing.json").replace(self.folder / STATE)
        for old in self.folder.glob("epoch-*.weights.h5"):
            if old != weights:
                old.unlink()


class Training:
    """A training as its folder knows it: the history so far, what keeps it, and how to go on from there.

    Parameters
    ----------
    about
        What the training is of: recipe, seed, number of frames. A folder keeps to it.
    folder
        Where checkpoints are kept; made if it is missing. None keeps none.
    patience
        Of early stopping, see `Best`. Default: no early stopping.

    Attributes
    ----------
    history : dict of list of float
        By the names of Keras, one entry an epoch.
    folder : Path or None
    best : Best or None
    callbacks : list
        What `fit` needs to keep all this.

    Raises
    ------
    RunError
        If the folder holds another training, or one that is damaged.
    """

    def __init__(self, about: dict[str, Any], folder: Any = None, patience: int | None = None) -> None:
        about = json.loads(json.dumps(about))
        self._state: dict[str, Any] = {}
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(
                    f"{self.folder} cannot be made ({error.strerror}); name another folder."
                ) from error
            self._state = _read_state(self.folder, about)
        self.history: History = self._state.get("history", {})
        self.callbacks: list[Any] = [Keep(self.history)]
        self.best = None if patience is None else Best(self.history, patience, self.folder)
        if self.best is not None:
            self.callbacks.append(self.best)
        if self.folder is not None:
            seconds = self._state.get("seconds", 0.0)
            self.callbacks.append(Checkpoint(self.folder, about, self.history, seconds))

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history.get("loss", []))

    def go_on(self, model: keras.Model) -> None:
        """Bring a compiled model to where the last checkpoint was; a new training leaves it as it is."""
        if not self._state or self.folder is None:
            return
        model.optimizer.build(model.trainable_variables)
        _load(model, self.folder / Path(self._state["weights"]).name)
        try:
            for variable, value in zip(_seeds(model), self._state["seeds"], strict=True):
                variable.assign(np.asarray(value, np.uint32))
        except (ValueError, TypeError, OverflowError) as error:
            raise _damaged(self.folder / STATE, error) from error


def _read_state(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a folder, {} of a new one."""
    if not (folder / STATE).exists():
        return {}
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if "losses" in state:  # as it was written before there were histories
            state["history"] = {"loss": state.pop("losses")}
        lengths = {len([float(value) for value in line]) for line in state["history"].values()}
        if lengths != {state["epoch"]} or not isinstance(state["weights"], str):
            raise ValueError(f"{state['epoch']} epochs with histories of {sorted(lengths)}")
        float(state.get("seconds", 0.0)), list(state["seeds"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(folder / STATE, error) from error
    for key, value in about.items():
        if state.get(key) != value:
            raise RunError(
                f"{folder} holds a training with {key} {state.get(key)!r}, not {value!r}; "
                "name another folder, or delete this one to start anew."
            )
    return state


def _load(model: keras.Model, path: Path) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:  # cut off, or of another network
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RunError:
    said = f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0][:200]
    return RunError(
        f"the training in {path.parent} cannot go on: {path.name} is missing, damaged or of another network ({said}). "
        "Restore the folder, or delete it to start anew."
    )


def _seeds(model: keras.Model) -> list[Any]:
    """Return the states of all generators of a model, which its weight files leave out."""
    return [variable for variable in model.non_trainable_variables if "seed_generator" in variable.path]
