"""TRL's RewardTrainer with the losses of voxpop.losses; import voxpop.trl needs trl 0.24 or later.

Rows of 'voxpop export --format trl' have target and weight; with --format votes they have discrimination, side_bias and
weight. Whichever the data set has is used:

    trainer = RewardTrainer(model, args=RewardConfig(...), train_dataset=load_dataset("json", data_files="rows.jsonl")["train"])
"""

from __future__ import annotations

from typing import Any

import torch
import trl
from trl.trainer.reward_trainer import DataCollatorForPreference

from .losses import evidence_loss, vote_loss

COLUMNS = ("target", "weight", "discrimination", "side_bias")


class PreferenceCollator(DataCollatorForPreference):  # type: ignore[misc]
    """TRL's collator, which keeps what votes are worth."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        batch.pop("margin", None)  # it would count twice
        for name in COLUMNS:
            if name in examples[0]:
                batch[name] = torch.tensor([example[name] for example in examples], dtype=torch.float)
        return batch


class RewardTrainer(trl.RewardTrainer):  # type: ignore[misc]
    """TRL's trainer: the loss of a pair is evidence_loss(), that of a vote vote_loss()."""

    data_collator: Any

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        theirs = self.data_collator
        self.data_collator = PreferenceCollator(theirs.pad_token_id, theirs.pad_to_multiple_of)

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["chosen_ids", "rejected_ids", *COLUMNS]

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **more: Any) -> Any:
        worth = {name: inputs.pop(name) for name in COLUMNS if name in inputs}
        if not {"target", "discrimination"} & worth.keys():
            raise ValueError("the rows have neither target nor discrimination: export them by 'voxpop export'")
        _, outputs = super().compute_loss(model, inputs, return_outputs=True, **more)
        chosen, rejected = torch.chunk(outputs.logits.squeeze(-1), chunks=2)
        loss = vote_loss if "discrimination" in worth else evidence_loss
        total = loss(chosen, rejected, **{name: x for name, x in worth.items() if loss is evidence_loss or name != "target"})
        return (total, outputs) if return_outputs else total
