"""LiveCurves: loss and scores of a training, epoch by epoch while it runs, and a button that ends it."""

import time
from functools import cached_property
from typing import Any

import anywidget
import traitlets

from radiowidgets.widgets.bundle import module, style

OFTEN = 0.25  # seconds between two messages about batches


class LiveCurves(anywidget.AnyWidget):
    """Lines of loss and scores, of training and validation, that grow while `fit` runs.

    Show it first, then give its `callback` to the training::

        curves = rw.LiveCurves()
        display(curves)
        train_network(images, labels, validation, callbacks=[curves.callback])

    'Stop' ends the training after the batch that it is at. Its message must reach the kernel while the cell runs, as it
    does in JupyterLab from 4.4 on; where it does not, interrupt the kernel.

    Attributes
    ----------
    lines : dict of list of float
        As Keras names them; an epoch that was not finished is not among them.
    now : dict
        Whether it runs, which epoch and batch it is at, the first epoch it saw, and in words how it ended.
    stop : bool
        Set it, here or by the button, to end the training.
    """

    _esm = module("curves")
    _css = style("review", "curves")
    lines = traitlets.Dict().tag(sync=True)
    now: Any = traitlets.Dict({"running": False, "said": ""}).tag(sync=True)
    stop = traitlets.Bool(False).tag(sync=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # What the button says comes in on the thread that the browser chose for it. ipykernel (7.4) would else give it
        # to the thread that spoke last, which is busy with the training until there is nothing left to stop.
        if self.comm is not None:
            self.comm._reply_subshell_for = lambda data, default: default  # noqa: ARG005
        self.on_msg(self._receive)

    def _receive(self, _: Any, content: Any, buffers: Any) -> None:
        del buffers
        if isinstance(content, dict) and content.get("kind") == "stop" and self.now["running"]:
            self.stop = True

    @cached_property
    def callback(self) -> Any:
        """What Keras tells of the training, for `callbacks`; it follows one training after the other.

        Raises
        ------
        MissingExtraError
            If Keras is not there.
        """
        import radiowidgets.models.encoders  # noqa: F401 - says what to install where there is no Keras
        from radiowidgets.models.training import Epochs

        widget = self

        class Follow(Epochs):
            def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
                del logs
                widget._begin(self.params)

            def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                super().on_epoch_begin(epoch, logs)
                widget._at_epoch(epoch)

            def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
                super().on_train_batch_end(batch, logs)
                widget._at_batch(batch)
                if widget.stop:
                    self.model.stop_training = True

            def after_epoch(self, epoch: int, logs: dict[str, float]) -> None:
                del epoch
                widget._add(logs)

            def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
                del logs
                widget._end()

        return Follow()

    def _begin(self, params: dict[str, Any]) -> None:
        self._started, self._told, self._first = time.monotonic(), 0.0, -1
        self.stop = False
        self.lines = {}
        self.now = {
            "running": True,
            "first": 0,
            "epoch": 1,
            "epochs": int(params.get("epochs") or 0),
            "batch": 0,
            "batches": int(params.get("steps") or 0),
        }

    def _at_epoch(self, epoch: int) -> None:
        if self._first < 0:
            self._first = epoch
        self.now = self.now | {
            "first": self._first,
            "epoch": epoch + 1,
            "batch": 0,
            "left": self._left(epoch),
        }

    def _at_batch(self, batch: int) -> None:
        if time.monotonic() - self._told > OFTEN:
            self._told = time.monotonic()
            self.now = self.now | {"batch": batch + 1}

    def _add(self, logs: dict[str, float]) -> None:
        self.lines = {
            name: [*self.lines.get(name, []), value]
            for name, value in logs.items()
            if name != "learning_rate"
        }

    def _left(self, epoch: int) -> float:
        """Return the seconds that all the epochs to come would take."""
        done = epoch - self._first
        return (time.monotonic() - self._started) / done * (self.now["epochs"] - epoch) if done else 0.0

    def _end(self) -> None:
        done = len(self.lines.get("loss", []))
        seconds = time.monotonic() - self._started
        took = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        why = "stopped" if self.stop else "ended"
        said = f"{why} after {self._first + done if done else 0} epochs, {took}"
        self.now = self.now | {"running": False, "said": said}
