"""Expectation propagation for one component, written from the papers: the independent reference of voxpop's EP.

Run it to rewrite tests/data/ep_reference.json (needs numpy and scipy; ten seconds). It shares nothing with include/:
tilted moments come from dense trapezoid sums in double precision, where voxpop uses Gaussian mixtures. Minka (2001),
"Expectation propagation for approximate Bayesian inference"; Rasmussen and Williams (2006), section 3.6, for the evidence.

Scores s ~ N(0, I). A vote (first, second, winner, gamma, beta) has eta = gamma (s_first - s_second) + beta and the
likelihood sigma(eta) if the first item won (+1), sigma(-eta) if the second did (-1), and sqrt(sigma(eta) sigma(-eta)) if
they tied (0).
"""

import itertools
import json
import pathlib

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_expit, logsumexp


def log_likelihood(vote, d):
    _, _, winner, gamma, beta = vote
    eta = gamma * d + beta
    return log_expit(winner * eta) if winner else (log_expit(eta) + log_expit(-eta)) / 2


def tilted_moments(vote, mean, variance):
    """log Z, mean and variance of N(d; mean, variance) times the vote's likelihood.

    A trapezoid sum converges exponentially here: the integrand's poles lie pi / |gamma| off the axis, far beyond the step.
    It spans 12 cavity sds around the mode, and the tilted density is log-concave and narrower than the cavity's.
    """
    _, _, winner, gamma, beta = vote

    def slope(d):
        eta = gamma * d + beta
        pull = winner * np.exp(log_expit(-winner * eta)) if winner else -np.tanh(eta / 2) / 2
        return mean - d + variance * gamma * pull

    reach = abs(gamma) * variance + 1
    mode = brentq(slope, mean - reach, mean + reach)
    step = 12 * np.sqrt(variance) / 3000
    offset = step * np.arange(-3000, 3001)
    d = mode + offset
    log_density = log_likelihood(vote, d) - (d - mean) ** 2 / (2 * variance) - np.log(2 * np.pi * variance) / 2
    log_z = logsumexp(log_density) + np.log(step)
    weight = np.exp(log_density - log_z) * step
    centre = weight @ offset
    return log_z, mode + centre, weight @ (offset - centre) ** 2


def expectation_propagation(items, votes):
    """Posterior mean, covariance and EP's log evidence. Sites are updated one by one until none moves by 1e-13."""
    directions = np.zeros((len(votes), items))
    for x, vote in zip(directions, votes):
        x[vote[0]], x[vote[1]] = 1, -1
    precision, shift = np.zeros(len(votes)), np.zeros(len(votes))

    def posterior():
        h = np.eye(items) + directions.T * precision @ directions
        return np.linalg.solve(h, directions.T @ shift), np.linalg.inv(h), np.linalg.slogdet(h)[1]

    def cavity(v):
        mean, covariance, _ = posterior()
        variance = directions[v] @ covariance @ directions[v]
        left = 1 / variance - precision[v]
        return (directions[v] @ mean / variance - shift[v]) / left, 1 / left

    for _ in range(2000):
        before = np.concatenate([precision, shift])
        for v, vote in enumerate(votes):
            mean, variance = cavity(v)
            _, tilted_mean, tilted_variance = tilted_moments(vote, mean, variance)
            precision[v] = 1 / tilted_variance - 1 / variance
            shift[v] = tilted_mean / tilted_variance - mean / variance
        after = np.concatenate([precision, shift])
        if np.all(abs(after - before) <= 1e-13 * (1 + abs(after))):
            break
    else:
        raise RuntimeError("EP did not converge")

    mean, covariance, log_determinant = posterior()
    log_evidence = (mean @ np.linalg.solve(covariance, mean) - log_determinant) / 2
    for v, vote in enumerate(votes):
        m, s2 = cavity(v)
        total, moved = 1 / s2 + precision[v], m / s2 + shift[v]
        log_gaussian = (moved**2 / total - m**2 / s2 - np.log(total * s2)) / 2  # log integral of cavity times site
        log_evidence += tilted_moments(vote, m, s2)[0] - log_gaussian
    return mean, covariance, log_evidence


def brute_force(items, votes):
    """Exact means and variances of all score differences, and log evidence, by a grid over them; 2 or 3 items.

    The other direction, the mean score, is not touched by votes. Differences to the last item have covariance I + 11'.
    """
    dimensions = items - 1
    step = 0.002 if dimensions == 1 else 0.0125
    axis = step * np.arange(-round(18 / step), round(18 / step) + 1)
    grid = np.meshgrid(*[axis] * dimensions, indexing="ij", sparse=True)
    prior = np.eye(dimensions) + 1
    inverse = np.linalg.inv(prior)
    log_density = -(dimensions * np.log(2 * np.pi) + np.linalg.slogdet(prior)[1]) / 2
    for i, j in itertools.product(range(dimensions), repeat=2):
        log_density = log_density - grid[i] * grid[j] * inverse[i, j] / 2
    score = [*grid, 0.0]
    for vote in votes:
        log_density += log_likelihood(vote, score[vote[0]] - score[vote[1]])
    peak = log_density.max()
    weight = np.exp(log_density - peak)
    total = weight.sum()
    differences = []
    for i, j in itertools.combinations(range(items), 2):
        d = score[i] - score[j]
        mean = (weight * d).sum() / total
        differences.append([i, j, mean, (weight * (d - mean) ** 2).sum() / total])
    return differences, peak + np.log(total) + dimensions * np.log(step)


def cases():
    """(name, items, votes): single votes, strong and contrary ones, ties, then random ones of growing size."""
    single = {"plain": (1, 1, 0), "lost": (-1, 1, 0), "random annotator": (1, 0, 0.5), "adversary": (1, -3, 0),
              "weak with side bias": (-1, 0.35, 3), "strong": (1, 8, -3), "very strong, contrary": (-1, 30, 3),
              "tie": (0, 1, 0), "tie with side bias": (0, 3, -1.5), "very strong tie": (0, 30, 3)}
    for name, (winner, gamma, beta) in single.items():
        yield f"1 vote, {name}", 2, [(0, 1, winner, gamma, beta)]
    yield "2 votes that contradict", 2, [(0, 1, 1, 2, 0), (0, 1, -1, 2, 0)]
    yield "2 votes, shown both ways", 2, [(0, 1, 1, 1, 1), (0, 1, 1, 1, -1)]
    yield "2 strong votes that contradict", 2, [(0, 1, 1, 30, 3), (0, 1, -1, 8, -3)]
    yield "a cycle of 3 items", 3, [(0, 1, 1, 1.5, 0), (1, 2, 1, 1.5, 0), (0, 2, -1, 1.5, 0)]
    yield "a chain of 3 items, strong", 3, [(0, 1, 1, 8, 1), (1, 2, 1, 30, -1)]
    rng = np.random.default_rng(1)
    for items, votes, ties, strong in [(2, 5, 0, 0), (2, 5, 0.4, 0), (3, 4, 0, 0), (3, 6, 0.3, 1), (3, 12, 0, 0),
                                       (4, 9, 0, 0), (4, 9, 0.3, 1), (6, 30, 0, 0), (6, 30, 0.2, 2)]:
        gamma = rng.choice([-3, -1, 0, 0.35, 0.7, 1, 1.4, 2, 3], votes)
        gamma[:strong] = [8, 30][:strong]
        beta = np.round(np.where(rng.random(votes) < 0.5, 0, rng.uniform(-3, 3, votes)), 2)
        rows = []
        for g, b in zip(gamma, beta):
            first, second = sorted(rng.choice(items, 2, replace=False).tolist())
            winner = 0 if rng.random() < ties else int(rng.choice([1, -1]))
            rows.append((first, second, winner, float(g), float(b)))
        name = f"{items} items, {votes} votes" + (", ties" if ties else "") + (", some strong" if strong else "")
        yield name, items, rows


def main():
    lines, worst_mean, worst_sd, worst_evidence = [], 0, 0, 0
    for name, items, votes in cases():
        mean, covariance, log_evidence = expectation_propagation(items, votes)
        case = {"name": name, "items": items, "votes": votes,
                "ep": {"mean": mean.tolist(), "covariance": covariance.tolist(), "log_evidence": log_evidence}}
        if items <= 3:
            differences, exact_evidence = brute_force(items, votes)
            case["exact"] = {"differences": differences, "log_evidence": exact_evidence}
            for i, j, exact_mean, exact_variance in differences:
                x = np.eye(items)[i] - np.eye(items)[j]
                off_mean = abs(x @ mean - exact_mean) / np.sqrt(exact_variance)
                off_sd = abs(np.sqrt(x @ covariance @ x / exact_variance) - 1)
                off_evidence = abs(log_evidence - exact_evidence)
                if len(votes) == 1:  # one site: EP is exact, so both integrations must agree
                    assert max(off_mean, off_sd, off_evidence) < 1e-10, (name, off_mean, off_sd, off_evidence)
                worst_mean, worst_sd = max(worst_mean, off_mean), max(worst_sd, off_sd)
                worst_evidence = max(worst_evidence, off_evidence)
        lines.append(json.dumps(case))  # floats are written so that they read back to the same bits
    path = pathlib.Path(__file__).parent / "data" / "ep_reference.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"cases": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{len(lines)} cases, {path.stat().st_size} bytes. EP is off the exact posterior by at most {worst_mean:.2g} "
          f"posterior sds in a mean, {worst_sd:.2%} in an sd and {worst_evidence:.2g} in log evidence.")


if __name__ == "__main__":
    main()
