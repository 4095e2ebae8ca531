#!/usr/bin/env bash
# The whole road as one SLURM job on nodes with GPUs, one process per GPU.
#
#   launch/slurm/trackstar.sh CORPUS QUERIES OUT [--attempts N] [--print] [ROAD…] [-- OPTION…]
#
# ROAD… are the other options of launch/local/trackstar.sh. Checkout, files and OUT lie on a file system that all nodes
# share (OUT also at gs:// or s3://). OPTION… goes to `sbatch`: --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 …. Five
# minutes before the time is up every process is told to stop; a road that is interrupted (exit code 75) is put back in
# the queue, N attempts in all (10); bad input (2) is not. PYTHON names the interpreter, as in launch/local. --print
# shows the command instead of running it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  [ "$#" -eq 0 ] || printf '\n%s\n' "$1" >&2
  exit 2
}

# shellcheck source=launch/checks.sh
. "$root/launch/checks.sh"

attempts=10 print=false places=() road=() options=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --config | --checkpoint | --continue_from | --embedding | --seed | --attempts)
      [ "$#" -ge 2 ] || usage "$1 needs a value"
      case $1 in
        --attempts) attempts=$2 ;;
        --config) check_config "$2" ;;
        --seed) check_number --seed "$2" ;;
        *) check_there "$1" "$2" ;;
      esac
      [ "$1" = --attempts ] || road+=("$1" "$2")
      shift 2
      ;;
    --print) print=true && shift ;;
    --) shift && options=("$@") && break ;;
    -*) usage "unknown option $1" ;;
    *) places+=("$1") && shift ;;
  esac
done
[ "${#places[@]}" -eq 3 ] || usage "CORPUS, QUERIES and OUT are needed; got ${#places[@]} of them"
check_there CORPUS "${places[0]}"
check_there QUERIES "${places[1]}"
[ -n "${places[2]}" ] || usage "OUT needs a path"
case $attempts in '' | 0* | *[!0-9]*) usage "--attempts needs a number of at least 1, not $attempts" ;; esac

# --signal reaches the processes, not the batch script; what is printed after a requeue follows what was.
command=(sbatch --job-name=trackstar --requeue --open-mode=append --signal=TERM@300 ${options[@]+"${options[@]}"})
# SLURM runs a copy of the batch script, which cannot know where the checkout lies.
command+=("$root/launch/slurm/batch.sh" "$root" "$attempts" "${places[@]}" ${road[@]+"${road[@]}"} --multiprocess)
$print || check_tools sbatch ${PYTHON:+"$PYTHON"}
if $print; then printf '%q ' "${command[@]}" && echo; else "${command[@]}"; fi
