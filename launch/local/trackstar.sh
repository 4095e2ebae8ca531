#!/usr/bin/env bash
# The whole road on this machine: text in, a judged influence ranking and a page out.
#
#   launch/local/trackstar.sh CORPUS QUERIES OUT [--config FILE.gin] [--checkpoint DIR | --continue_from DIR]
#                             [--embedding MODEL] [--seed N] [--processes N | --multiprocess] [--print]
#
# CORPUS and QUERIES are JSON lines files, or seqio:TASK. Without --checkpoint a model is trained on CORPUS first: with
# its own vocabulary from scratch, or from the checkpoint that --continue_from names. DIR is what this road or the job
# import_checkpoint wrote. --embedding adds a sentence encoder (a Hugging Face folder) to the methods. --print shows the
# commands instead of running them. --processes divides every job among N processes of this machine; --multiprocess says
# that this same command runs in every process of a cluster, which the launchers beside this folder see to. The same
# command run again goes on where it stopped; exit code 75 asks for that. PYTHON names the interpreter; otherwise it is
# the checkout's .venv, or `python`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  if [ -x "$root/.venv/bin/python" ]; then PYTHON=$root/.venv/bin/python; else PYTHON=python; fi
fi

usage() {
  sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  [ "$#" -eq 0 ] || printf '\n%s\n' "$1" >&2
  exit 2
}

config=$root/configs/road/demo.gin checkpoint='' initial='' embedding='' seed='' processes=1 print=false
multiprocess=false places=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --config | --checkpoint | --continue_from | --embedding | --seed | --processes)
      [ "$#" -ge 2 ] || usage "$1 needs a value"
      case $1 in
        --config) config=$2 ;;
        --checkpoint) checkpoint=$2 ;;
        --continue_from) initial=$2 ;;
        --embedding) embedding=$2 ;;
        --seed) seed=$2 ;;
        --processes) processes=$2 ;;
      esac
      shift 2
      ;;
    --print) print=true && shift ;;
    --multiprocess) multiprocess=true && shift ;;
    -*) usage "unknown option $1" ;;
    *) places+=("$1") && shift ;;
  esac
done
[ "${#places[@]}" -eq 3 ] || usage "CORPUS, QUERIES and OUT are needed; got ${#places[@]} of them"
corpus=${places[0]} queries=${places[1]} out=${places[2]%/}
[ -z "$checkpoint" ] || [ -z "$initial" ] || usage "--checkpoint trains nothing, --continue_from does: give one of them"
case $seed in *[!0-9]*) usage "--seed needs a whole number, not $seed" ;; esac
[ "$processes" = 1 ] || ! $multiprocess || usage "--processes is for one machine, --multiprocess for a cluster"
case $processes in '' | *[!0-9]* | 0*) usage "--processes needs a number of at least 1, not $processes" ;; esac

# A gin string literal: whatever the path holds, it stays one value.
text() {
  local value=${1//\\/\\\\}
  value=${value//\'/\\\'}
  printf "'%s'" "${value//$'\n'/\\n}"
}

# One job: `job VERB OUTPUT BINDING…` reads artifacts and writes exactly one, at OUTPUT.
job() {
  local verb=$1 output=$2 binding
  shift 2
  local command=("$PYTHON" -m "jax_tda.jobs.$verb" "--gin_file=$config" "--output_dir=$output")
  if [ "$processes" != 1 ]; then
    command=("$PYTHON" "$root/launch/local/processes.py" --processes "$processes" -- "${command[@]}")
  fi
  for binding in "$@"; do command+=("--gin_bindings=$binding"); done
  if [ -n "$seed" ]; then
    for binding in pretrain estimate_second_moments encode estimate_curvature rank_baseline evaluate tail_patch; do
      command+=("--gin_bindings=$binding.seed=$((10#$seed))")
    done
  fi
  if $multiprocess; then command+=(--multiprocess); fi
  if $print; then
    printf '%q ' "${command[@]}" && echo
    return
  fi
  echo "── $verb → $output"
  if $multiprocess; then run_signalled "${command[@]}"; else "${command[@]}"; fi
}

# A cluster tells this script, not the job, that it must stop. The job is told, and its answer awaited.
run_signalled() {
  local code=0 signalled=false asked=false
  "$@" &
  local child=$!
  trap 'signalled=true asked=true; kill -TERM "$child" 2> /dev/null || true' TERM
  wait "$child" || code=$?
  # A signal ends a wait, with a code of its own.
  while $signalled; do
    signalled=false code=0
    wait "$child" || code=$?
  done
  trap - TERM
  # A job without steps ends its work first; yet the road must not go on to the next.
  if $asked && [ "$code" = 0 ]; then code=75; fi
  return "$code"
}

trains=false
if [ -z "$checkpoint" ]; then
  trains=true checkpoint=$out/checkpoint
fi
model="checkpoint=$(text "$checkpoint")"
# An imported checkpoint has no optimizer state: its second moments are estimated on the way.
moments='' imported=''
$trains || imported=$("$PYTHON" "$root/launch/local/imported.py" "$checkpoint")
[ -z "$imported" ] || moments=$out/second_moments

# Before anything is computed: do the files, the number of queries and the settings fit together?
check=("check_road.corpus=$(text "$corpus")" "check_road.queries=$(text "$queries")")
$trains || check+=("check_road.$model")
[ -z "$initial" ] || check+=("check_road.initial=$(text "$initial")")
[ -z "$embedding" ] || check+=("check_road.embedding=$(text "$embedding")")
job check_road "$out" "${check[@]}"

# Text to tokens. A given checkpoint brings its vocabulary and its context.
vocabulary=${initial:-$checkpoint}
if $trains && [ -z "$initial" ]; then
  vocabulary=$out/vocabulary
  job train_vocabulary "$vocabulary" "train_vocabulary.source=$(text "$corpus")"
fi
tokens=("tokenize.vocabulary=$(text "$vocabulary")")
job tokenize "$out/queries" "${tokens[@]}" "tokenize.source=$(text "$queries")" "tokenize.kind='queries'"
# The corpus is cut to the context, which is the longest query's length or the config's, whichever is longer.
job tokenize "$out/corpus" "${tokens[@]}" "tokenize.source=$(text "$corpus")" "tokenize.queries=$(text "$out/queries")"

# Tokens to a model and its optimizer state; then, what does the model answer?
before=() # What a continued model knew already is told apart from what it was taught.
if [ -n "$initial" ]; then before=("answer.before=$(text "$initial")"); fi
if $trains; then
  job pretrain "$checkpoint" "pretrain.corpus=$(text "$out/corpus")" \
    ${initial:+"pretrain.initial=$(text "$initial")"}
fi
job answer "$out/answers" "answer.queries=$(text "$out/queries")" "answer.$model" ${before[@]+"${before[@]}"}

# Squared gradients of batches stand in for the second moments that a foreign checkpoint does not bring.
divided=()
if [ -n "$moments" ]; then
  estimate=("estimate_second_moments.$model" "estimate_second_moments.examples=$(text "$out/corpus")")
  job estimate_second_moments "$moments" "${estimate[@]}"
  divided=("moments=$(text "$moments")")
fi

# Examples to encodings: with the optimizer's second moments, and without, on the same projections. A small format is
# for the many passages; the few queries, which every score hangs on, stay as they were computed.
for stream in train query; do
  if [ $stream = train ]; then
    encode=("encode.examples=$(text "$out/corpus")")
  else
    encode=("encode.examples=$(text "$out/queries")" "store.type='float32'" "store.rank=0" "store.step=0.0")
  fi
  encode+=("encode.$model" ${divided[@]+"${divided[@]/#/encode.}"})
  job encode "$out/encodings/$stream" "${encode[@]}"
  job encode "$out/encodings_plain/$stream" "${encode[@]}" "encode.second_moments='none'"
done

# Encodings to curvature, and to the two corrections: R of the corpus alone, and R mixed with that of the queries.
for stream in train query; do
  job estimate_curvature "$out/curvature/$stream" "estimate_curvature.encodings=$(text "$out/encodings/$stream")"
done
mix=("mix_curvature.train=$(text "$out/curvature/train")" "mix_curvature.encodings=$(text "$out/encodings/train")")
job mix_curvature "$out/corrections/r_train" "${mix[@]}" "mix_curvature.query_weight=0.0"
job mix_curvature "$out/corrections/trackstar" "${mix[@]}" "mix_curvature.query=$(text "$out/curvature/query")"

# Encodings to rankings: the ladder from the plain gradient's dot product to TrackStar.
answers="answers=$(text "$out/answers")"
rank() { # METHOD ENCODINGS BINDING…
  local method=$1 encodings=$2
  shift 2
  job score "$out/rankings" "score.method='$method'" "score.train=$(text "$out/$encodings/train")" \
    "score.query=$(text "$out/$encodings/query")" "score.$answers" "$@"
}
rank grad_dot encodings_plain "score.unit_norm=False"
rank grad_cosine encodings_plain
rank second_moments encodings
rank r_train encodings "score.correction=$(text "$out/corrections/r_train")"
rank trackstar encodings "score.correction=$(text "$out/corrections/trackstar")"

# A sentence encoder's vectors are encodings like any others, scored by the same cosine.
if [ -n "$embedding" ]; then
  for stream in train query; do
    if [ $stream = train ]; then examples=$out/corpus; else examples=$out/queries; fi
    job embed "$out/embeddings/$stream" "embed.model=$(text "$embedding")" "embed.examples=$(text "$examples")"
  done
  rank embedding embeddings
fi

# Texts to rankings: other ways to the same form.
texts=("corpus=$(text "$out/corpus")" "queries=$(text "$out/queries")")
for method in bm25 bm25_prompt gold random; do
  job rank_baseline "$out/rankings" "rank_baseline.method='$method'" "${texts[@]/#/rank_baseline.}" \
    "rank_baseline.$answers"
done

# Rankings to judgements to a page.
rankings="rankings=$(text "$out/rankings")"
job evaluate "$out" "evaluate.$rankings" "${texts[@]/#/evaluate.}" "evaluate.$model" "evaluate.$answers" \
  ${divided[@]+"${divided[@]/#/evaluate.}"}
job show "$out/page" "show.report=$(text "$out")" "show.$rankings" "${texts[@]/#/show.}"

$print || printf '\nThe page: %s\n' "$out/page/index.html"
