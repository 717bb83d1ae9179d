"""One hospital of three that train a small neural network with PyTorch.

    python pytorch_hospital.py http://127.0.0.1:8000 --seed 1 --rounds 8

Its patients are made up: points of two interleaved half circles, other ones for each ``--seed``.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from federate import Node, Parameters
from torch import nn

# What everybody starts from. A policy gives each parameter one value for all its entries, and a
# network whose hidden units are all alike stays so: hence the network is this public, seeded one
# plus the parameters of the federated model, which begin at zero.
PUBLIC_SEED = 2026


def network() -> nn.Module:
    """The network before the first round; its parameters are named as in the policy."""
    torch.manual_seed(PUBLIC_SEED)
    layers = nn.Sequential()
    layers.add_module("hidden", nn.Linear(2, 16))
    layers.add_module("act", nn.Tanh())
    layers.add_module("output", nn.Linear(16, 1))
    return layers


def with_parameters(parameters: Parameters) -> nn.Module:
    """The network of a federated model."""
    model = network()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.add_(torch.from_numpy(np.asarray(parameters[name])).to(weights.dtype))
    return model


def patients(seed: int, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 2) features and (count, 1) diagnoses, 0 or 1."""
    random = np.random.default_rng(seed)
    ill = random.integers(0, 2, count)
    angle = random.uniform(0, np.pi, count)
    x = np.where(ill, 1 - np.cos(angle), np.cos(angle))
    y = np.where(ill, 0.5 - np.sin(angle), np.sin(angle))
    points = np.stack([x, y], axis=1) + random.normal(0, 0.15, (count, 2))
    return torch.tensor(points, dtype=torch.float32), torch.tensor(ill[:, None]).float()


def train(parameters: Parameters, features: torch.Tensor, diagnoses: torch.Tensor) -> Parameters:
    """The federated model's parameters after some steps on this hospital's patients."""
    model = with_parameters(parameters)
    start = {name: weights.detach().clone() for name, weights in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(60):
        optimiser.zero_grad()
        loss(model(features), diagnoses).backward()
        optimiser.step()
    return {
        name: parameters[name] + (weights.detach() - start[name]).double().numpy()
        for name, weights in model.named_parameters()
    }


def accuracy(parameters: Parameters, features: torch.Tensor, diagnoses: torch.Tensor) -> float:
    """The share of patients whose diagnosis is predicted right."""
    with torch.no_grad():
        predicted = with_parameters(parameters)(features) > 0
    return float((predicted == (diagnoses > 0.5)).float().mean())


def main() -> None:
    """Take part in so many rounds, and say after each how good the model is on new patients."""
    options = argparse.ArgumentParser()
    options.add_argument("url")
    options.add_argument("--token")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--rounds", type=int, default=8)
    given = options.parse_args()

    node = Node(given.url, given.token)
    own, unseen = patients(given.seed), patients(1_000_003, 1000)
    print(f"round 0: accuracy {accuracy(node.newest().parameters, *unseen):.3f}")
    for _ in range(given.rounds):
        result = node.take_part(lambda parameters: train(parameters, *own))
        share = accuracy(node.newest().parameters, *unseen)
        print(
            f"round {result['round']}: {result['participants']} hospitals, "
            f"model {result['model_hash'][:16]}, accuracy {share:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
