"""Sampling methods by name, and a new diffusers scheduler for each batch."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple

from adapters.errors import UnsupportedOption


class _Method(NamedTuple):
    """A scheduler class of diffusers, and settings for its configuration."""

    cls: str
    settings: Mapping[str, Any] = {}


_KARRAS = {"use_karras_sigmas": True}
NOISE: Mapping[str, _Method] = {
    "ddim": _Method("DDIMScheduler", {"clip_sample": False}),
    "ddpm": _Method("DDPMScheduler", {"clip_sample": False}),
    "deis": _Method("DEISMultistepScheduler"),
    "dpmpp_2m": _Method("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_karras": _Method("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_KARRAS}),
    "dpmpp_2m_sde": _Method("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": _Method("EulerDiscreteScheduler"),
    "euler_karras": _Method("EulerDiscreteScheduler", _KARRAS),
    "euler_ancestral": _Method("EulerAncestralDiscreteScheduler"),
    "heun": _Method("HeunDiscreteScheduler"),
    "lms": _Method("LMSDiscreteScheduler"),
    "pndm": _Method("PNDMScheduler"),
    "unipc": _Method("UniPCMultistepScheduler"),
}
"""For models that predict noise, or the velocity of a variance-preserving diffusion."""
FLOW: Mapping[str, _Method] = {
    "euler": _Method("FlowMatchEulerDiscreteScheduler"),
    "unipc": _Method("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
}
"""For rectified flow models (arXiv 2209.03003); both accept the pipelines' own noise levels."""


class Schedulers:
    """The sampling methods of one pipeline."""

    def __init__(self, own: Any) -> None:
        """Finds the methods that suit the model's own scheduler."""
        self._own = own
        self._config: dict[str, Any] = dict(own.config)
        self._methods = {name: method for name, method in _table(own).items() if self._supports(method)}

    @property
    def names(self) -> tuple[str, ...]:
        """All names that a request may use."""
        return tuple(self._methods)

    def check(self, name: str) -> None:
        """Raises `UnsupportedOption` for a method that the model does not support."""
        if name and name not in self._methods:
            known = ", ".join(self._methods) or "only the default; leave scheduler out"
            raise UnsupportedOption(
                f"This model has no scheduler {name[:64]!r}. Available: {known}.", param="scheduler"
            )

    def make(self, name: str) -> Any:
        """A new scheduler without state; "": of the model's own class."""
        if not name:
            return type(self._own).from_config(self._config)
        return self._build(self._methods[name])

    def _build(self, method: _Method) -> Any:
        import diffusers

        cls = getattr(diffusers, method.cls)
        settings = dict(method.settings)
        if not settings.get("use_flow_sigmas"):
            return cls.from_config(self._config, **settings)
        made = cls.from_config(self._config, **settings, flow_shift=self._config.get("shift", 1.0))
        made.set_timesteps = _accept_lists(made.set_timesteps)
        return made

    def _supports(self, method: _Method) -> bool:
        """Whether the method can be set up for this model, and supports its training down to pure noise, if any."""
        import diffusers

        known = inspect.signature(getattr(diffusers, method.cls).__init__).parameters
        if self._config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in known:
            return False
        try:
            made = self._build(method)
            if not made.config.get("use_dynamic_shifting"):
                made.set_timesteps(4)
        except (ValueError, TypeError, ImportError, NotImplementedError, IndexError):
            return False
        return True


def _accept_lists(set_timesteps: Callable[..., None]) -> Callable[..., None]:
    """Wraps UniPC's method, which needs an array of noise levels, while some pipelines pass a list."""
    import numpy as np

    @wraps(set_timesteps)  # pipelines look at its signature
    def wrapped(*args: Any, **kwargs: Any) -> None:
        if isinstance(kwargs.get("sigmas"), list):
            kwargs["sigmas"] = np.array(kwargs["sigmas"], dtype=np.float32)
        set_timesteps(*args, **kwargs)

    return wrapped


def _table(own: Any) -> Mapping[str, _Method]:
    if type(own).__name__.startswith("FlowMatch") or own.config.get("use_flow_sigmas"):
        return FLOW
    compatible = {one.__name__ for one in getattr(own, "compatibles", ())}
    return {name: method for name, method in NOISE.items() if method.cls in compatible}
