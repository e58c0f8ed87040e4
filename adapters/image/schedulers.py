"""Sampling methods by name: which of diffusers' schedulers a model can be run with, and a fresh one for each batch."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple

from adapters.errors import UnsupportedOption


class _Way(NamedTuple):
    """A scheduler's class in diffusers, and what to set in its configuration."""

    cls: str
    settings: Mapping[str, Any] = {}


_KARRAS = {"use_karras_sigmas": True}
NOISE: Mapping[str, _Way] = {
    "ddim": _Way("DDIMScheduler", {"clip_sample": False}),
    "ddpm": _Way("DDPMScheduler", {"clip_sample": False}),
    "deis": _Way("DEISMultistepScheduler"),
    "dpmpp_2m": _Way("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_karras": _Way("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_KARRAS}),
    "dpmpp_2m_sde": _Way("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": _Way("EulerDiscreteScheduler"),
    "euler_karras": _Way("EulerDiscreteScheduler", _KARRAS),
    "euler_ancestral": _Way("EulerAncestralDiscreteScheduler"),
    "heun": _Way("HeunDiscreteScheduler"),
    "lms": _Way("LMSDiscreteScheduler"),
    "pndm": _Way("PNDMScheduler"),
    "unipc": _Way("UniPCMultistepScheduler"),
}
"""For models that predict noise, or the velocity of a variance-preserving diffusion."""
FLOW: Mapping[str, _Way] = {
    "euler": _Way("FlowMatchEulerDiscreteScheduler"),
    "unipc": _Way("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
}
"""For models of rectified flow (arXiv 2209.03003); both take the pipelines' own noise levels."""


class Schedulers:
    """The sampling methods of one pipeline."""

    def __init__(self, own: Any) -> None:
        """Takes the scheduler that the model came with."""
        self._own = own
        self._config: dict[str, Any] = dict(own.config)
        self._ways = {name: way for name, way in _table(own).items() if self._fits(way)}

    @property
    def names(self) -> tuple[str, ...]:
        """All that a request may name."""
        return tuple(self._ways)

    def check(self, name: str) -> None:
        """Raises `UnsupportedOption` for a name that this model cannot be run with."""
        if name and name not in self._ways:
            known = ", ".join(self._ways) or "none but its own"
            raise UnsupportedOption(f"This model has no scheduler {name[:64]!r}; it has {known}.", param="scheduler")

    def make(self, name: str) -> Any:
        """A scheduler without any state of earlier work; "" is the model's own."""
        if not name:
            return type(self._own).from_config(self._config)
        return self._build(self._ways[name])

    def _build(self, way: _Way) -> Any:
        import diffusers

        cls = getattr(diffusers, way.cls)
        settings = dict(way.settings)
        if not settings.get("use_flow_sigmas"):
            return cls.from_config(self._config, **settings)
        made = cls.from_config(self._config, **settings, flow_shift=self._config.get("shift", 1.0))
        made.set_timesteps = _taking_lists(made.set_timesteps)
        return made

    def _fits(self, way: _Way) -> bool:
        """Whether the method can be set up for this model, and heeds that it was trained down to pure noise."""
        import diffusers

        known = inspect.signature(getattr(diffusers, way.cls).__init__).parameters
        if self._config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in known:
            return False
        try:
            made = self._build(way)
            if not made.config.get("use_dynamic_shifting"):
                made.set_timesteps(4)
        except (ValueError, TypeError, ImportError, NotImplementedError, IndexError):
            return False
        return True


def _taking_lists(set_timesteps: Callable[..., None]) -> Callable[..., None]:
    """UniPC's method, which computes with noise levels that some pipelines give as a list."""
    import numpy as np

    @wraps(set_timesteps)  # pipelines look at its signature
    def taking(*args: Any, **kwargs: Any) -> None:
        if isinstance(kwargs.get("sigmas"), list):
            kwargs["sigmas"] = np.array(kwargs["sigmas"], dtype=np.float32)
        set_timesteps(*args, **kwargs)

    return taking


def _table(own: Any) -> Mapping[str, _Way]:
    if type(own).__name__.startswith("FlowMatch") or own.config.get("use_flow_sigmas"):
        return FLOW
    compatible = {one.__name__ for one in getattr(own, "compatibles", ())}
    return {name: way for name, way in NOISE.items() if way.cls in compatible}
