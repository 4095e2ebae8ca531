#!/usr/bin/env bash
# The whole road as a JobSet on a TPU slice of a GKE cluster: one pod per host, restarted together.
#
#   launch/gke/trackstar.sh CORPUS QUERIES OUT --name NAME --image IMAGE --accelerator LABEL --topology TOPOLOGY
#     [--chips_per_host N] [--service_account NAME] [--config FILE.gin] [--attempts N] [--replace] [--print]
#     [ROAD…]
#
# CORPUS, QUERIES and OUT are read and written by every host: gs://…, the first two also seqio:TASK. ROAD… are the other
# options of launch/local/trackstar.sh. IMAGE is built from launch/gke/Dockerfile. LABEL and TOPOLOGY are those of the
# node pool: tpu-v5-lite-podslice and 16x16, tpu-v5p-slice and 4x4x8. FILE.gin goes into a ConfigMap. A road that is
# interrupted (exit code 75), or that loses a host, is restarted, N attempts in all (10); bad input (2) is not. A JobSet
# of this name that is there already is refused; --replace deletes it first. --print shows the commands, with the JobSet,
# instead of running them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usage() {
  sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
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

name='' image='' accelerator='' topology='' chips_per_host=4 service_account=default attempts=10 print=false replace=false
config=$root/configs/road/demo.gin places=() road=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --name | --image | --accelerator | --topology | --chips_per_host | --service_account | --config | --attempts | \
      --checkpoint | --continue_from | --embedding | --seed)
      [ "$#" -ge 2 ] || usage "$1 needs a value"
      case $1 in
        --name) name=$2 ;; --image) image=$2 ;; --accelerator) accelerator=$2 ;; --topology) topology=$2 ;;
        --chips_per_host) chips_per_host=$2 ;; --service_account) service_account=$2 ;; --config) config=$2 ;;
        --attempts) attempts=$2 ;;
        --checkpoint | --continue_from) shared "$1" "$2" && road+=("$1" "$2") ;;
        --seed) check_number --seed "$2" && road+=("$1" "$2") ;;
        *) road+=("$1" "$2") ;;
      esac
      shift 2
      ;;
    --print) print=true && shift ;;
    --replace) replace=true && shift ;;
    -*) usage "unknown option $1" ;;
    *) places+=("$1") && shift ;;
  esac
done
[ "${#places[@]}" -eq 3 ] || usage "CORPUS, QUERIES and OUT are needed; got ${#places[@]} of them"
for needed in name image accelerator topology; do [ -n "${!needed}" ] || usage "--$needed is needed"; done
shared CORPUS "${places[0]}" seqio:
shared QUERIES "${places[1]}" seqio:
shared OUT "${places[2]}"
check_config "$config"
# A pod is called NAME-road-0-HOST and some letters.
check_name --name "$name" 40
check_name --service_account "$service_account" 63
check_name --accelerator "$accelerator" 63
case $image in *[[:space:]]* | -*) usage "--image needs the name of an image, not $image" ;; esac
case $topology in
  *[!0-9x]* | [x0]* | *x | *x[x0]*) usage "--topology needs chips along each side, as 16x16, not $topology" ;;
esac
case $attempts in '' | 0* | *[!0-9]*) usage "--attempts needs a number of at least 1, not $attempts" ;; esac
case $chips_per_host in '' | 0* | *[!0-9]*) usage "--chips_per_host needs a whole number, not $chips_per_host" ;; esac
chips=$((${topology//x/*}))
[ $((chips % chips_per_host)) = 0 ] ||
  usage "--topology $topology has $chips chips, which is no multiple of the $chips_per_host of a host"
hosts=$((chips / chips_per_host))

# A YAML string: whatever the argument holds, it stays one value.
text() { printf "'%s'" "${1//\'/\'\'}"; }

jobset() {
  cat << END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $(text "$name")
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  network:
    enableDNSHostnames: true
  failurePolicy:
    maxRestarts: $((attempts - 1))
    rules:
      # Bad input stays bad; everything else, 75 above all, is worth another attempt.
      - action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: road
      replicas: 1
      template:
        spec:
          parallelism: $hosts
          completions: $hosts
          # One process less is no road: the job fails with the first pod, and all of it is restarted.
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes:
                  containerName: road
                  operator: In
                  values: [2]
          template:
            spec:
              restartPolicy: Never
              serviceAccountName: $(text "$service_account")
              # Time to finish the shard in hand.
              terminationGracePeriodSeconds: 300
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $(text "$accelerator")
                cloud.google.com/gke-tpu-topology: $(text "$topology")
              containers:
                - name: road
                  image: $(text "$image")
                  command:
                    - launch/local/trackstar.sh
                  args:
END
  for argument in "${places[@]}" --config /etc/jax_tda/road.gin ${road[@]+"${road[@]}"} --multiprocess; do
    printf '                    - %s\n' "$(text "$argument")"
  done
  cat << END
                  resources:
                    limits:
                      google.com/tpu: $chips_per_host
                  volumeMounts:
                    - name: config
                      mountPath: /etc/jax_tda
              volumes:
                - name: config
                  configMap:
                    name: $(text "$name-road")
END
}

$print || check_tools kubectl
remove=(kubectl delete jobset "$name" --ignore-not-found)
remove_config=(kubectl delete configmap "$name-road" --ignore-not-found)
make_config=(kubectl create configmap "$name-road" "--from-file=road.gin=$config")
apply=(kubectl apply --filename -)
if $print; then
  for command in $($replace && echo remove remove_config) make_config; do
    declare -n words=$command
    printf '%q ' "${words[@]}" && echo
  done
  printf '%q ' "${apply[@]}" && echo "<< 'END_OF_JOBSET'"
  jobset
  echo END_OF_JOBSET
  exit
fi
if $replace; then
  "${remove[@]}"
  "${remove_config[@]}"
else
  there=$(kubectl get --ignore-not-found --output=name "jobset/$name" "configmap/$name-road")
  [ -z "$there" ] || usage "--name $name is taken by ${there//$'\n'/ and }; give another, or --replace to delete what is there"
fi
"${make_config[@]}"
jobset | "${apply[@]}"
echo "Look on with: kubectl logs --follow --selector jobset.sigs.k8s.io/jobset-name=$name" >&2
