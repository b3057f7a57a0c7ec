"""The discriminator, which is trained together with the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from expcorr_core.data.discriminator import Discriminator
from expcorr_core.data.losses import discriminator_loss

from .processes import Processes


class Adversary:
    """The discriminator and its training."""

    def __init__(self, processes: Processes, betas: tuple[float, float]) -> None:
        self.module = Discriminator().to(processes.device)
        if processes.world > 1 and processes.device.startswith("cuda"):
            self.module = nn.SyncBatchNorm.convert_sync_batchnorm(self.module)  # type: ignore[no-untyped-call]
        self.optimizer = torch.optim.Adam(self.module.parameters(), betas=betas)
        self.wrapped = processes.wrap(self.module)

    def state(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])

    def judge(self, image: Tensor) -> Tensor:
        """Logits, with the discriminator's own weights frozen."""
        fixed = {name: value.detach() for name, value in self.module.named_parameters()}
        logits: Tensor = functional_call(self.module, fixed, (image,))[0]
        return logits

    def learn(self, real: Tensor, made: Tensor, lr: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        loss = discriminator_loss(*self.wrapped(real, made))
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()


def flipped(image: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each photo of a batch horizontally with a probability of one half."""
    chosen = torch.rand(len(image), 1, 1, 1, generator=generator).to(image.device) < 0.5
    return torch.where(chosen, image.flip(3), image)
