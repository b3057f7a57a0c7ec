"""The processes of a training run."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Processes:
    """The processes of a run: one, or those that torchrun started."""

    def __init__(self, device: str) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = device
        if self.world > 1:
            cuda = device.startswith("cuda")
            if cuda:
                self.device = f"cuda:{os.environ['LOCAL_RANK']}"
                torch.cuda.set_device(self.device)
            dist.init_process_group("nccl" if cuda else "gloo")

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        if self.world > 1:
            value = value.to(self.device)
            dist.all_reduce(value)
            value = value / self.world
        return value

    def wrap(self, module: nn.Module, unused: bool = False) -> nn.Module:
        if self.world == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=unused)

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()
