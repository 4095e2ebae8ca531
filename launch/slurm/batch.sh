#!/usr/bin/env bash
# What SLURM runs, once per attempt, for launch/slurm/trackstar.sh: the road in every process, and what follows from
# how it ended.
#
#   batch.sh CHECKOUT ATTEMPTS ARGUMENT…
set -uo pipefail

root=$1 attempts=$2
shift 2
code=0
# The others are given a minute to stop by themselves once one has.
srun --wait=60 "$root/launch/local/trackstar.sh" "$@" || code=$?
case $code in 0 | 2) exit "$code" ;; esac
if [ $((${SLURM_RESTART_COUNT:-0} + 1)) -lt "$attempts" ]; then
  echo "The road stopped with exit code $code; it is put back in the queue." >&2
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
