"""What a job computes on, said in one line, and whether an accelerator is there that JAX cannot use."""

import os
import pathlib
import sys

from jax_tda.core import processes

# Files that a driver makes, the accelerator that it is for, and the extras of jax_tda that make JAX use it.
_DRIVERS = (
    ("/proc/driver/nvidia/version", "an NVIDIA GPU", "cuda13 (or cuda12, for an older driver)"),
    ("/dev/accel0", "a TPU", "tpu"),
    ("/dev/vfio/0", "a TPU", "tpu"),
)


def announce(device_per_core: bool = False) -> None:
    """Prints what this job computes on, once for all its processes; must come after they are connected.

    Args:
      device_per_core: take each core of a CPU for a device before JAX looks for its devices.
    """
    if device_per_core:
        from jax_tda.core import mesh  # It imports JAX.

        mesh.one_cpu_device_per_core()
    # JAX finds the devices of all processes together: where one looks for them, all must.
    lines = described()
    if processes.index() == 0:
        print("\n".join(lines), flush=True)


def described() -> list[str]:
    """Lines that say devices, JAX's release and precision; a second one where an accelerator lies idle.

    A process that has not imported JAX computes nothing with it, and is not made to.
    """
    if "jax" not in sys.modules:
        return ["device: none needed"]
    import jax

    from jax_tda.core import mesh

    devices = mesh.usable_devices()
    precision = jax.config.values["jax_default_matmul_precision"] or "default"
    line = f"device: {len(devices)} x {devices[0].device_kind} ({devices[0].platform}), JAX {jax.__version__}"
    lines = [f"{line}, matrix products in {precision} precision"]
    idle = _idle() if devices[0].platform == "cpu" else None
    if idle is not None:
        there, extra = idle
        lines.append(
            f"{there} is here, but this installation of JAX computes on the CPU: "
            f"make venv ACCELERATOR=… or pip install with the extra {extra} (JAX_PLATFORMS=cpu if the CPU is meant)"
        )
    return lines


def _idle() -> tuple[str, str] | None:
    """An accelerator whose driver is here, and the extra that lets JAX use it; None where the CPU was asked for."""
    if "cpu" in os.environ.get("JAX_PLATFORMS", "").split(","):
        return None
    return next(((there, extra) for path, there, extra in _DRIVERS if pathlib.Path(path).exists()), None)
