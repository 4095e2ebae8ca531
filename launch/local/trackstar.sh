#!/usr/bin/env bash
# The whole pipeline on this machine, from a checkout: `jax-tda trackstar` with the interpreter that PYTHON names, else
# the checkout's .venv, else `python`.
#
#   launch/local/trackstar.sh CORPUS QUERIES OUT [--config FILE.gin] [--checkpoint DIR | --continue_from DIR]
#                             [--embedding MODEL] [--seed N] [--processes N | --multiprocess] [--print]
#
# `launch/local/trackstar.sh --help` names every option. The same command run again goes on where it stopped; exit code
# 75 asks for that.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  if [ -x "$root/.venv/bin/python" ]; then PYTHON=$root/.venv/bin/python; else PYTHON=python; fi
fi
# A signal to this script is one to the pipeline.
exec "$PYTHON" -m jax_tda trackstar "$@"
