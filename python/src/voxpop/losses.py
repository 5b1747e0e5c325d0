"""Losses of reward models that know what votes are worth, for PyTorch; import voxpop.losses needs torch.

Rewards are logits of the reference annotator: the difference of two is what 'voxpop fit' calls a margin.
"""

from __future__ import annotations

from typing import Literal, Optional

import torch
from torch import Tensor
from torch.nn import functional

Reduction = Literal["mean", "sum", "none"]


def _reduced(loss: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def evidence_loss(chosen: Tensor, rejected: Tensor, target: Tensor, weight: Tensor, reduction: Reduction = "mean") -> Tensor:
    """What the votes on pairs say against these rewards: weight x cross-entropy(target, sigma(chosen - rejected)).

    chosen, rejected: rewards [pairs]. target, weight: of the rows of 'voxpop export' [pairs], or pairs/target and
    pairs/weight of a fit with chosen = left, rejected = right. Its gradient and curvature are those of the votes'
    negative log-likelihood, noisy and one-sided annotators reckoned with, at the fit's own difference. "mean": over
    pairs, not over weights, so that a batch counts as much as its votes say.
    """
    loss = weight * functional.binary_cross_entropy_with_logits(chosen - rejected, target, reduction="none")
    return _reduced(loss, reduction)


def vote_loss(chosen: Tensor, rejected: Tensor, discrimination: Tensor, side_bias: Tensor,
              weight: Optional[Tensor] = None, reduction: Reduction = "mean") -> Tensor:
    """Minus the log-likelihood of votes: -weight x log sigma(discrimination x (chosen - rejected) + side_bias).

    A row of 'voxpop export --format votes' a vote [votes]: chosen is the item that it is for, discrimination and
    side_bias (logits towards the chosen item) are its annotator's, weight is as how many votes it counts (None: as one).
    """
    loss = -functional.logsigmoid(discrimination * (chosen - rejected) + side_bias)
    return _reduced(loss if weight is None else weight * loss, reduction)
