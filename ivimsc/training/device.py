"""Where torch trains."""

from typing import Any

import torch

from ivimsc.device.launch import parse_device
from ivimsc.errors import DeviceError

__all__ = ["event_writer", "torch_device"]


def torch_device(device: str) -> torch.device:
    """The torch device of a name: auto, cpu, cuda or cuda:N. On the CPU torch runs on one thread from here on.

    Networks this small gain little from torch's own threads, and lose a lot where other programs run.

    Raises
    ------
    DeviceError
        for a GPU that torch does not find
    """
    kind, index = parse_device(device)
    gpus = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cuda" and not gpus:
        raise DeviceError(f"device: found {device!r}, expected a GPU that torch can use: this torch ({torch.__version__}) finds none")  # fmt: skip
    if index and index >= gpus:
        raise DeviceError(f"device: found {device!r}, expected cuda:0 to cuda:{gpus - 1}, which torch finds")
    if gpus:
        return torch.device("cuda", index)
    torch.set_num_threads(1)
    return torch.device("cpu")


def event_writer(folder: Any) -> Any:
    """A writer of TensorBoard's event files into `folder`; None for no folder, DeviceError where tensorboard is missing."""
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DeviceError("tensorboard: found none installed, expected it: pip install 'ivimsc[learn]'") from None
    return SummaryWriter(str(folder))
