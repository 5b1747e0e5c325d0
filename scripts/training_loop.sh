#!/usr/bin/env bash
# Fits votes, trains a reward model, and lets its scores help to fit the votes again: see docs/training.md.
#   bash scripts/training_loop.sh DIR TRAIN SCORE [ROUNDS]
# DIR holds votes.h5 and responses.jsonl ({"id": item, "text": response, "prompt": ...}). TRAIN and SCORE are commands of yours:
#   TRAIN rows.jsonl MODEL             trains on target and weight of each row
#   SCORE MODEL responses.jsonl scores.csv   writes id,score of every response
# In DIR: fit.0.h5, rows.0.jsonl, model.0, scores.0.csv, and with their numbers those of each round (1 by default).
set -euo pipefail

if [[ $# -lt 3 || $# -gt 4 || ! ${4:-1} =~ ^[0-9]+$ ]]; then
  sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
folder=$1 train=$2 score=$3 rounds=${4:-1}
voxpop=${VOXPOP_PROGRAM:-voxpop}
for file in votes.h5 responses.jsonl; do
  [[ -r $folder/$file ]] || { echo "training_loop.sh: $folder/$file cannot be read" >&2; exit 4; }
done

prior=()
for ((round = 0; round <= rounds; ++round)); do
  echo "round $round: fit"
  "$voxpop" fit "$folder/votes.h5" -o "$folder/fit.$round.h5" "${prior[@]}"
  "$voxpop" export "$folder/fit.$round.h5" --format trl --texts "$folder/responses.jsonl" --keep-undecided -o "$folder/rows.$round.jsonl"
  echo "round $round: train"
  $train "$folder/rows.$round.jsonl" "$folder/model.$round"
  $score "$folder/model.$round" "$folder/responses.jsonl" "$folder/scores.$round.csv"
  prior=(--prior-score "$folder/scores.$round.csv")
done
