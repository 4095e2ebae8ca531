#!/usr/bin/env bash
# The whole road on a Cloud TPU VM or pod: make it, install this checkout, run on every worker, delete it.
#
#   launch/tpu_vm/trackstar.sh CORPUS QUERIES OUT --name NAME --zone ZONE --accelerator TYPE --version RUNTIME
#     [--project PROJECT] [--config FILE.gin] [--attempts N] [--keep] [--print] [ROAD…] [-- OPTION…]
#
# CORPUS, QUERIES and OUT are read and written by every worker: gs://…, the first two also seqio:TASK. ROAD… are the
# other options of launch/local/trackstar.sh. FILE.gin is copied to the workers, and what is committed of this checkout.
# OPTION… goes to `gcloud compute tpus tpu-vm create` (--spot). A road that is interrupted (exit code 75), or whose pod
# was taken away, is tried again, N attempts in all (10); bad input (2) is not. --keep leaves the pod there at the end.
# --print shows the commands instead of running them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usage() {
  sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  [ "$#" -eq 0 ] || printf '\n%s\n' "$1" >&2
  exit 2
}

# shellcheck source=launch/checks.sh
. "$root/launch/checks.sh"

# Every process reads it, none sees this machine's files.
shared() { # WHAT PLACE [seqio:]
  case $2 in
    gs://?* | "${3:-gs://}"?*) ;;
    *) usage "$1 must be gs://…${3:+ or ${3}TASK}, which every host can reach, not $2" ;;
  esac
}

name='' zone='' accelerator='' version='' project='' config=$root/configs/road/demo.gin attempts=10
keep=false print=false places=() road=() options=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --name | --zone | --accelerator | --version | --project | --config | --attempts | --checkpoint | --continue_from | \
      --embedding | --seed)
      [ "$#" -ge 2 ] || usage "$1 needs a value"
      case $1 in
        --name) name=$2 ;; --zone) zone=$2 ;; --accelerator) accelerator=$2 ;; --version) version=$2 ;;
        --project) project=$2 ;; --config) config=$2 ;; --attempts) attempts=$2 ;;
        --checkpoint | --continue_from) shared "$1" "$2" && road+=("$1" "$2") ;;
        --seed) check_number --seed "$2" && road+=("$1" "$2") ;;
        *) road+=("$1" "$2") ;;
      esac
      shift 2
      ;;
    --keep) keep=true && shift ;;
    --print) print=true && shift ;;
    --) shift && options=("$@") && break ;;
    -*) usage "unknown option $1" ;;
    *) places+=("$1") && shift ;;
  esac
done
[ "${#places[@]}" -eq 3 ] || usage "CORPUS, QUERIES and OUT are needed; got ${#places[@]} of them"
for needed in name zone accelerator version; do [ -n "${!needed}" ] || usage "--$needed is needed"; done
shared CORPUS "${places[0]}" seqio:
shared QUERIES "${places[1]}" seqio:
shared OUT "${places[2]}"
check_config "$config"
check_name --name "$name" 61
check_name --zone "$zone" 63
check_name --accelerator "$accelerator" 63
[ -z "$project" ] || check_name --project "$project" 63
$print || check_tools gcloud git
case $attempts in '' | 0* | *[!0-9]*) usage "--attempts needs a number of at least 1, not $attempts" ;; esac

quoted() { printf '%q ' "$@"; }
run() { if $print; then quoted "$@" && echo; else "$@"; fi; }
pod() { # VERB ARGUMENT…
  local verb=$1
  shift
  run gcloud compute tpus tpu-vm "$verb" "$@" "--zone=$zone" ${project:+"--project=$project"}
}
workers() { pod ssh "$name" --worker=all "--command=$1"; }

archive=${TMPDIR:-/tmp}/$name.tar.gz
# The images' own Python is older than what is needed; uv brings one.
install='mkdir -p jax_tda && tar -xzf jax_tda.tar.gz -C jax_tda && python3 -m pip install --quiet --user uv'
install+=' && python3 -m uv venv --quiet --allow-existing --python 3.12 jax_tda/.venv'
install+=' && python3 -m uv pip install --quiet --python jax_tda/.venv/bin/python'
install+=" -e './jax_tda[seqio,demo,import,gcs,tpu_compile]'"
# A worker whose connection broke may still be at work: it is told to stop, and awaited.
go="while pkill -TERM -f '[-]m jax_tda[.]jobs'; do sleep 5; done; "
go+="jax_tda/launch/local/trackstar.sh "
go+=$(quoted "${places[@]}" --config jax_tda_road.gin ${road[@]+"${road[@]}"} --multiprocess)

make_pod() {
  pod create "$name" "--accelerator-type=$accelerator" "--version=$version" ${options[@]+"${options[@]}"}
}
bring() {
  run git -C "$root" archive --format=tar.gz "--output=$archive" HEAD &&
    pod scp "$archive" "$name:jax_tda.tar.gz" --worker=all &&
    pod scp "$config" "$name:jax_tda_road.gin" --worker=all &&
    workers "$install"
}

if $print; then
  make_pod
  bring
  workers "$go"
  $keep || pod delete "$name" --quiet
  exit
fi

ready() { [ "$(pod describe "$name" '--format=value(state)' 2> /dev/null)" = READY ]; }
code=1 brought=false
for ((attempt = 1; attempt <= attempts; attempt++)); do
  if ! ready; then
    # Of a pod that was taken away a record remains, under the same name.
    brought=false
    pod delete "$name" --quiet 2> /dev/null || true
    make_pod || { code=$? && sleep 60 && continue; }
  fi
  # A pod that is there may be bare still, or hold what an earlier call brought.
  $brought || bring || { code=$? && sleep 60 && continue; }
  brought=true code=0
  workers "$go" || code=$?
  case $code in 0 | 2) break ;; esac
  echo "The road stopped with exit code $code, attempt $attempt of $attempts." >&2
  sleep 30
done
$keep || pod delete "$name" --quiet
exit "$code"
