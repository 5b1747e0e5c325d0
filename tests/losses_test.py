"""voxpop.losses against their formulas and finite differences. Exit 77: PyTorch is not installed."""
import sys
import unittest
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit(77)
sys.path.insert(0, str(Path(__file__).parent.parent / "python" / "src" / "voxpop"))  # the rest of voxpop is not needed
from losses import evidence_loss, vote_loss


def sigma(x):
    return 1 / (1 + torch.exp(-x))


class Losses(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        self.chosen, self.rejected = torch.randn(2, 50, dtype=torch.float64)
        self.target, self.weight = torch.rand(50, dtype=torch.float64), 3 * torch.rand(50, dtype=torch.float64)
        self.discrimination, self.side_bias = torch.randn(2, 50, dtype=torch.float64)

    def check(self, loss, expected):
        torch.testing.assert_close(loss(self.chosen, self.rejected, "none"), expected)
        torch.testing.assert_close(loss(self.chosen, self.rejected, "sum"), expected.sum())
        torch.testing.assert_close(loss(self.chosen, self.rejected, "mean"), expected.mean())
        chosen, rejected, step = self.chosen.clone().requires_grad_(), self.rejected.clone().requires_grad_(), 1e-5
        loss(chosen, rejected, "sum").backward()
        by_steps = (loss(self.chosen + step, self.rejected, "none") - loss(self.chosen - step, self.rejected, "none")) / (2 * step)
        torch.testing.assert_close(chosen.grad, by_steps, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(rejected.grad, -by_steps, rtol=1e-6, atol=1e-8)

    def test_evidence(self):
        p = sigma(self.chosen - self.rejected)
        self.check(lambda c, r, how: evidence_loss(c, r, self.target, self.weight, how),
                   -self.weight * (self.target * torch.log(p) + (1 - self.target) * torch.log(1 - p)))

    def test_votes(self):
        p = sigma(self.discrimination * (self.chosen - self.rejected) + self.side_bias)
        self.check(lambda c, r, how: vote_loss(c, r, self.discrimination, self.side_bias, self.weight, how), -self.weight * torch.log(p))
        self.check(lambda c, r, how: vote_loss(c, r, self.discrimination, self.side_bias, reduction=how), -torch.log(p))

    def test_a_vote_of_the_reference_annotator_is_a_pair_of_weight_1(self):
        one, none = torch.ones(50, dtype=torch.float64), torch.zeros(50, dtype=torch.float64)
        torch.testing.assert_close(vote_loss(self.chosen, self.rejected, one, none), evidence_loss(self.chosen, self.rejected, one, one))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
