"""ViewsExplorer: views of one frame as the parameters of the augmentations move."""

import io
from typing import Any, NamedTuple

import ipywidgets
import numpy as np

from radiowidgets.data.frames import FrameSet
from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.exchange.pictures import paint_share

ACROSS, DOWN = 6, 2  # pictures; the first is the frame itself
SIDE, GAP = 128, 6  # of a picture, and between them
ROUNDING = 1e-5  # by which what is 0 to 1 may miss it

# Of each augmentation its words; the least, the most and the step of its slider.
_WORDS: dict[str, tuple[str, float, float, float]] = {
    "RandomCropResize": ("crop: share of the side", 0.2, 1.0, 0.01),
    "RandomZoomTurn": ("turn, zoom: share of the side", 0.3, 1.5, 0.01),
    "ColorJitter": ("brightness, contrast: strength", 0.0, 1.0, 0.01),
    "RandomFlip": ("flip", 0.0, 0.0, 0.0),
    "RandomQuarterTurn": ("quarter turn", 0.0, 0.0, 0.0),
    "RandomContrast": ("contrast: factor", 0.0, 3.0, 0.01),
    "RandomGamma": ("stretch: power", 0.3, 3.0, 0.01),
    "RandomNoise": ("noise: share of full scale", 0.0, 0.5, 0.01),
    "GaussianBlur": ("blur: sigma in pixels", 0.1, 6.0, 0.1),
    "RandomThresholding": ("dark below: percentile", 0.0, 99.0, 1.0),
}


class _Row(NamedTuple):
    """The sliders of one step; `amount` sets its range or strength, if it has one."""

    kind: Any
    options: dict[str, Any]
    probability: Any
    amount: Any

    def step(self) -> tuple[Any, dict[str, Any]]:
        moved = {"probability": self.probability.value}
        if isinstance(self.amount, ipywidgets.FloatRangeSlider):
            moved["low"], moved["high"] = self.amount.value
        elif self.amount is not None:
            moved["strength"] = self.amount.value
        return self.kind, self.options | moved


class ViewsExplorer(ipywidgets.VBox):
    """One frame, and eleven views of it that follow the sliders of an augmentation.

    Parameters
    ----------
    frames : FrameSet, or array (n, h, w, channels) in [0, 1]
        Of several channels the first is shown; uint8 stands for 0 to 1 in 255 steps.
    name : str
        Whose augmentations to start from, 'peculiar-frames' or 'ssl-benchmark'.
    size : int
        Of a FrameSet's frames, as the network takes them.
    seed : int
        Of what is drawn. The draws stay the same while a slider moves.

    Attributes
    ----------
    views : ndarray, shape (11, h, w, channels)
        What is shown.

    Raises
    ------
    ParameterError
        If there are no frames, they have another shape or numbers beyond 0 to 1, or nobody's augmentations have that
        name.
    MissingExtraError
        If Keras is not there.
    """

    def __init__(self, frames: Any, name: str = "peculiar-frames", *, size: int = 64, seed: int = 0) -> None:
        import radiowidgets.models.encoders  # noqa: F401 - says what to install where there is no Keras
        from radiowidgets.models.augment import PIPELINES

        names = [known for known in PIPELINES if known != "none"]
        check_one_of("augmentation", name, names)
        self._images = frames.network_input(size) if isinstance(frames, FrameSet) else np.asarray(frames)
        if self._images.dtype == np.uint8:
            self._images = self._images.astype(np.float32) / np.float32(255)
        if self._images.ndim != 4 or not len(self._images):
            raise ParameterError(
                f"frames has shape {self._images.shape}; give frames, or an array (n, h, w, channels)."
            )
        low, high = float(self._images.min()), float(self._images.max())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise ParameterError(
                f"frames goes from {low:.4g} to {high:.4g}; give numbers from 0 to 1 and no blanks, as "
                "FrameSet.network_input makes them."
            )
        self._seed = seed
        last = len(self._images) - 1
        flat = self._images.reshape(len(self._images), -1)
        shows = int(np.argmax(flat.max(axis=1) > flat.min(axis=1)))  # maps often begin with a blank corner
        self.frame = ipywidgets.BoundedIntText(
            shows, max=last, description="Frame", layout={"width": "170px"}
        )
        self.whose = ipywidgets.Dropdown(options=names, value=name, description="Those of")
        self.other = ipywidgets.Button(description="Draw anew", tooltip="Other views by the same rules")
        self.picture = ipywidgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})
        self.sliders = ipywidgets.VBox()
        self.frame.observe(self._draw, "value")
        self.whose.observe(self._begin, "value")
        self.other.on_click(self._draw_others)
        self._begin()
        top = ipywidgets.HBox([self.frame, self.whose, self.other], layout={"flex_flow": "row wrap"})
        super().__init__([top, self.picture, self.sliders])

    @property
    def augmentation(self) -> Any:
        """The augmentation as the sliders stand: a Keras layer, to train with."""
        from radiowidgets.models.augment import pipeline

        return pipeline([row.step() for row in self.rows], self._seed)

    def _begin(self, *_: Any) -> None:
        """Set all sliders to what the paper says."""
        from radiowidgets.models.augment import PIPELINES

        self.rows = [_make_row(kind, options) for kind, options in PIPELINES[self.whose.value]]
        lines = []
        for row in self.rows:
            parts = [part for part in (row.probability, row.amount) if part is not None]
            for part in parts:
                part.observe(self._draw, "value")
            words = ipywidgets.Label(_WORDS[row.kind.__name__][0], layout={"width": "220px"})
            lines.append(ipywidgets.HBox([words, *parts], layout={"flex_flow": "row wrap"}))
        self.sliders.children = lines
        self._draw()

    def _draw_others(self, *_: Any) -> None:
        self._seed += 1
        self._draw()

    def _draw(self, *_: Any) -> None:
        frame = self._images[self.frame.value : self.frame.value + 1].astype(np.float32)
        many = np.repeat(frame, ACROSS * DOWN - 1, axis=0)
        self.views = np.asarray(self.augmentation(many, training=True))
        self.picture.value = _sheet(np.concatenate([frame, self.views])[..., 0])


def _make_row(kind: Any, options: dict[str, Any]) -> _Row:
    now = kind(**options)
    probability = ipywidgets.FloatSlider(now.probability, min=0, max=1, step=0.01, description="probability")
    _, least, most, step = _WORDS[kind.__name__]
    amount = None
    if hasattr(now, "low"):
        ends = (now.low, now.high)
        amount = ipywidgets.FloatRangeSlider(value=ends, min=least, max=most, step=step, readout_format=".2f")
    elif hasattr(now, "strength"):
        amount = ipywidgets.FloatSlider(now.strength, min=least, max=most, step=step)
    return _Row(kind, options, probability, amount)


def _sheet(images: np.ndarray) -> bytes:
    """Return a PNG of images (n, h, w) in [0, 1], north up; the first has a frame."""
    from PIL import Image, ImageDraw

    width, height = (count * (SIDE + GAP) + GAP for count in (ACROSS, DOWN))
    sheet = Image.new("RGBA", (width, height))
    for k, image in enumerate(images):
        x, y = (GAP + place * (SIDE + GAP) for place in (k % ACROSS, k // ACROSS))
        tile = Image.fromarray(paint_share(image[::-1]))
        sheet.paste(tile.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
        if k == 0:
            ImageDraw.Draw(sheet).rectangle(
                [x - 3, y - 3, x + SIDE + 2, y + SIDE + 2], outline="#f5a524", width=3
            )
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
