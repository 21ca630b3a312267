#!/usr/bin/env python3
"""What adaptive-sparse-training 1.0.1 selects on made-up losses: `python make_sundew.py > sundew.json`.

Needs torch and adaptive-sparse-training==1.0.1 (`pip install --no-deps`). Scores come in phases that pass every branch
of the rule: above the threshold, floor, both clamps, odd batch sizes.
"""

import json

import torch
from adaptive_sparse_training.config import ASTConfig
from adaptive_sparse_training.sundew import SundewAlgorithm

PHASES = [  # batches, batch size, scale of the logits, target
    (40, 32, 1.0, 0.40),
    (40, 19, 4.0, 0.40),
    (20, 64, 0.3, 0.25),
    (30, 2, 20.0, 0.90),
    (450, 4, 0.05, 0.90),
    (540, 3, 60.0, 0.05),
]


def digits(values: torch.Tensor) -> list[float]:
    """Nine digits tell every float32 apart."""
    return [float(f"{value:.9g}") for value in values.tolist()]


def main() -> None:
    torch.manual_seed(7)
    runs = []
    for batches, size, scale, target in PHASES:
        sundew = SundewAlgorithm(ASTConfig(target_activation_rate=target))
        steps = []
        for step in range(batches):
            logits = torch.randn(size, 10) * scale * (1 + step / 20)
            labels = torch.randint(0, 10, (size,)) if scale >= 0.1 else logits.argmax(dim=1)
            losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
            probs = torch.softmax(logits, dim=1)
            entropy = -(probs * torch.log(probs + 1e-8)).sum(dim=1)
            mask, info = sundew.select_samples(losses, logits)
            steps.append({
                "loss": digits(losses),
                "entropy": digits(entropy),
                "selected": mask.nonzero().flatten().tolist(),
                "threshold": info["threshold"],
            })
        runs.append({"target_activation_rate": target, "steps": steps})
    print(json.dumps(runs, separators=(",", ":")))


if __name__ == "__main__":
    main()
