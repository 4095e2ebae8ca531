"""The launchers for clusters start the local road in every process, and try again what is worth another attempt."""

import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.house import tree
from tests.pipeline.printed import commands as steps

ROAD = tree.ROOT / "launch/local/trackstar.sh"
NEEDED = {
    "tpu_vm": ("--name", "pod", "--zone", "here", "--accelerator", "v5litepod-16", "--version", "an-image"),
    "slurm": (),
    "gke": ("--name", "slice", "--image", "an/image", "--accelerator", "tpu-v5p-slice", "--topology", "4x4x8"),
}
GIVEN = ("gs://c", "seqio:q", "gs://o")
STRANGE = ["plain", "two words", "it's", 'say "hi"', "back\\slash\\", "$HOME `id` $(id)", "-n & ; | *", "#: {λ}", "1"]


def ran(script, *arguments, path="/usr/bin:/bin", **more):
    environment = {"PATH": path, "PYTHON": sys.executable, "PYTHONPATH": str(tree.ROOT), "LC_ALL": "C.UTF-8", **more}
    command = ["bash", str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def launcher(kind):
    return tree.ROOT / "launch" / kind / "trackstar.sh"


def printed(kind, *arguments):
    ended = ran(launcher(kind), *arguments[:3], *NEEDED[kind], "--print", *arguments[3:])
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def commands(text):
    return [shlex.split(line) for line in text.splitlines()]


def jobset(text):
    (document,) = yaml.safe_load_all(text.split("<< 'END_OF_JOBSET'\n")[1].removesuffix("END_OF_JOBSET\n"))
    return document


def road_arguments(kind, text):
    """What every process gives to launch/local/trackstar.sh."""
    if kind == "gke":
        (job,) = jobset(text)["spec"]["replicatedJobs"]
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["launch/local/trackstar.sh"]
        return container["args"]
    if kind == "slurm":
        (command,) = commands(text)
        return command[command.index(str(tree.ROOT)) + 2 :]
    told = next(word for words in commands(text) for word in words if "launch/local/trackstar.sh" in word)
    words = shlex.split(told.removeprefix("--command="))
    return words[words.index("jax_tda/launch/local/trackstar.sh") + 1 :]


@pytest.mark.parametrize("kind", NEEDED)
@pytest.mark.parametrize("path", STRANGE)
def test_every_process_goes_the_local_road_with_the_arguments_as_they_were_given(kind, path, tmp_path):
    """Law: the launcher's arguments, through every quoting, are those that one would type for one process."""
    at = f"{tmp_path}/" if kind == "slurm" else "gs://"
    for folder in "cqke":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / path).touch()
    given = (f"{at}c/{path}", f"{at}q/{path}", f"gs://o/{path}")
    more = ["--continue_from", f"{at}k/{path}", "--embedding", f"{at}e/{path}", "--seed", "3"]
    arguments = road_arguments(kind, printed(kind, *given, *more))
    config = ["--config", arguments[arguments.index("--config") + 1]] if kind != "slurm" else []
    assert arguments == [*given, *config, *more, "--multiprocess"]
    jobs = steps(*arguments)
    assert jobs[0][2] == "jax_tda.jobs.check_road" and jobs[-1][2] == "jax_tda.jobs.show"
    assert all(job[-1] == "--multiprocess" for job in jobs)


def test_one_process_is_not_told_that_there_are_others():
    """Law: without --multiprocess no job waits for others."""
    jobs = commands(ran(ROAD, "c", "q", "o", "--print").stdout)
    assert jobs == steps("c", "q", "o") and not any("--multiprocess" in job for job in jobs)


def test_a_pod_is_made_filled_used_and_deleted_by_one_name():
    """Law: create, scp, scp, install, go, delete; all of one name and zone, further options for create alone."""
    lines = commands(printed("tpu_vm", *GIVEN, "--", "--spot"))
    pods = [line for line in lines if line[0] == "gcloud"]
    assert [line[4] for line in pods] == ["create", "scp", "scp", "ssh", "ssh", "delete"]
    assert all("--zone=here" in line and any(word.split(":")[0] == "pod" for word in line) for line in pods)
    assert [line[4] for line in pods if "--spot" in line] == ["create"]
    assert all("--worker=all" in line for line in pods if line[4] in ("scp", "ssh"))
    kept = commands(printed("tpu_vm", *GIVEN, "--keep"))
    assert [line for line in lines if line[4] != "delete"][1:] == kept[1:]


def test_a_jobset_has_a_pod_for_every_host_and_fails_for_bad_input_alone():
    """Law: hosts = chips / chips per host; exit code 2 ends it, whatever else restarts all pods, N attempts in all."""
    text = printed("gke", *GIVEN, "--attempts", "7")
    spec = jobset(text)["spec"]
    (job,) = spec["replicatedJobs"]
    inner = job["template"]["spec"]
    assert inner["parallelism"] == inner["completions"] == 4 * 4 * 8 // 4 and inner["backoffLimit"] == 0
    (rule,) = inner["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2]
    assert spec["failurePolicy"]["maxRestarts"] == 7 - 1
    assert spec["failurePolicy"]["rules"] == [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}]
    pod = inner["template"]["spec"]
    assert pod["restartPolicy"] == "Never" and pod["containers"][0]["resources"]["limits"]["google.com/tpu"] == 4
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "4x4x8"
    config_map = pod["volumes"][0]["configMap"]["name"]
    made = [line for line in commands(text.split("kubectl apply")[0]) if line[1] == "create"]
    assert made == [
        ["kubectl", "create", "configmap", config_map, f"--from-file=road.gin={tree.ROOT}/configs/road/demo.gin"]
    ]


@pytest.mark.parametrize("kind", NEEDED)
@pytest.mark.parametrize(
    "arguments",
    [GIVEN[:2], (*GIVEN, "x"), *((*GIVEN, "--attempts", number) for number in ("many", "0", "")), ("--no",)],
)
def test_a_command_that_cannot_be_meant_is_refused_with_the_usage(kind, arguments):
    """Law: nothing is made or run."""
    ended = ran(launcher(kind), *NEEDED[kind], *arguments)
    assert ended.returncode == 2 and "CORPUS QUERIES OUT" in ended.stderr and not ended.stdout


@pytest.mark.parametrize("kind", ["tpu_vm", "gke"])
def test_what_a_launcher_cannot_do_without_is_asked_for(kind):
    """Law: a pod without a name or a kind is refused before anything is made."""
    for missing in NEEDED[kind][::2]:
        at = NEEDED[kind].index(missing)
        given = NEEDED[kind][:at] + NEEDED[kind][at + 2 :]
        ended = ran(launcher(kind), *GIVEN, *given)
        assert ended.returncode == 2 and f"{missing} is needed" in ended.stderr


@pytest.mark.parametrize("kind", ["tpu_vm", "gke"])
@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("CORPUS", ("c", *GIVEN[1:])),
        ("QUERIES", (GIVEN[0], "q", GIVEN[2])),
        ("OUT", (*GIVEN[:2], "o")),
        ("OUT", (*GIVEN[:2], "seqio:o")),
        ("--checkpoint", (*GIVEN, "--checkpoint", "k")),
        ("--continue_from", (*GIVEN, "--continue_from", "k")),
        ("--config", (*GIVEN, "--config", "no such file")),
        ("--config", (*GIVEN, "--config", str(tree.ROOT))),
    ],
)
def test_what_the_workers_cannot_see_is_refused_before_anything_is_made(stand_ins, kind, what, arguments):
    """Law: a local place, or a config that cannot be read, ends with the usage; no command of the cluster has run."""
    path, log, _ = stand_ins
    ended = ran(launcher(kind), *NEEDED[kind], *arguments, path=path)
    assert ended.returncode == 2 and f"\n{what} " in ended.stderr and not log.exists()


WRONG = [
    ("tpu_vm gke", "--name", name) for name in ("Slice", "a_b", "a.b", "-a", "a-", "1a", "a b", "é", "a" * 62)
] + [
    ("gke", "--name", "a" * 41), ("gke", "--image", "an image"), ("gke", "--service_account", "Me"),
    ("tpu_vm gke", "--accelerator", "v5 p"), ("tpu_vm", "--zone", "Here"), ("tpu_vm", "--project", "a/b"),
    ("tpu_vm gke slurm", "--seed", "one"), ("tpu_vm gke", "--seed", "-1"), ("tpu_vm gke slurm", "--seed", "1" * 10),
    ("tpu_vm gke slurm", "--config", "/dev/null"), ("tpu_vm gke slurm", "--config", "no such file"),
    ("slurm", "--checkpoint", "no such folder"), ("slurm", "--continue_from", ""), ("slurm", "--embedding", "none"),
]  # fmt: skip


@pytest.mark.parametrize(("kinds", "option", "value"), WRONG)
def test_what_this_machine_can_see_to_be_wrong_is_refused_before_anything_is_made(stand_ins, kinds, option, value):
    """Law: names as Kubernetes and Google Cloud take them, numbers, files that are there; no program was called."""
    path, log, _ = stand_ins
    for kind in kinds.split():
        ended = ran(launcher(kind), *GIVEN, *NEEDED[kind], option, value, path=path)
        assert ended.returncode == 2 and f"\n{option} needs " in ended.stderr, ended.stderr
        assert not log.exists() and not ended.stdout


@pytest.mark.parametrize(("kind", "tool"), [("tpu_vm", "gcloud"), ("gke", "kubectl"), ("slurm", "sbatch")])
def test_a_program_that_is_missing_is_named_before_anything_is_made(kind, tool, tmp_path):
    """Law: `--print` needs none of them."""
    for program in ("bash", "dirname", "sed"):  # This machine may have the clusters' own.
        (tmp_path / program).symlink_to(shutil.which(program))
    ended = ran(launcher(kind), *GIVEN, *NEEDED[kind], path=str(tmp_path))
    assert ended.returncode == 2 and f"the program {tool} is needed" in ended.stderr
    assert printed(kind, *GIVEN)


@pytest.mark.parametrize("place", range(2))
def test_texts_that_slurm_would_not_find_are_refused(place, tmp_path):
    """Law: a file that is not on the shared file system is no corpus; stores and Tasks are asked later."""
    (tmp_path / "there").touch()
    given = [str(tmp_path / "there")] * 2 + ["gs://o"]
    assert ran(launcher("slurm"), *given, "--print").returncode == 0
    given[place] = str(tmp_path / "absent")
    ended = ran(launcher("slurm"), *given, "--print")
    assert ended.returncode == 2 and f"\n{('CORPUS', 'QUERIES')[place]} needs a file" in ended.stderr


def test_a_jobset_of_the_same_name_is_deleted_only_when_that_was_asked_for(stand_ins):
    """Law: what is there is named and stays; `--replace` deletes it and its config first."""
    path, log, _ = stand_ins
    program = next(iter(path.split(":"))) + "/kubectl"
    with open(program, "a") as script:
        script.write('case "$1" in get) echo jobset.jobset.x-k8s.io/slice ;; apply) cat > /dev/null ;; esac\n')
    ended = ran(launcher("gke"), *GIVEN, *NEEDED["gke"], path=path)
    assert ended.returncode == 2 and "taken by jobset.jobset.x-k8s.io/slice" in ended.stderr
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["get"]
    log.unlink()
    assert ran(launcher("gke"), *GIVEN, *NEEDED["gke"], "--replace", path=path).returncode == 0
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["delete", "delete", "create", "apply"]


@pytest.mark.parametrize(
    ("topology", "chips_per_host"),
    [("4xx8", "4"), ("x4", "4"), ("4x", "4"), ("4x08", "4"), ("0x4", "4"), ("3x3", "4"), ("2x2", "8")],
)
def test_a_topology_that_its_hosts_cannot_fill_is_refused(topology, chips_per_host):
    """Law: a side is a number of at least 1, and the chips are a positive multiple of those of a host."""
    asked = ("--topology", topology, "--chips_per_host", chips_per_host)
    ended = ran(launcher("gke"), *GIVEN, *NEEDED["gke"], *asked, "--print")
    assert ended.returncode == 2 and "\n--topology " in ended.stderr and not ended.stdout


@pytest.fixture
def stand_ins(tmp_path):
    """A PATH on which the clusters' programs write down what they were told, and end as `codes` says, run by run."""
    folder = tmp_path / "programs"
    folder.mkdir()
    log, codes, fails = tmp_path / "log", tmp_path / "codes", tmp_path / "fails"
    for name in ("gcloud", "kubectl", "srun", "scontrol", "git", "sleep"):
        script = f'#!/bin/bash\necho {name} "$@" >> {shlex.quote(str(log))}\n'
        if name in ("gcloud", "srun"):
            # The road itself takes the next code from the list, 137 loses the pod; a pod is there once it was made;
            # what holds the words in `fails` fails once.
            script += (
                f'case "$*" in *trackstar.sh*) code=$(head -1 {codes}); sed -i 1d {codes}\n'
                f'[ "$code" != 137 ] || sed -i "s/tpu-vm create/made and lost/" {log}; exit "$code" ;; esac\n'
                f'if [ -e {fails} ] && [[ "$*" == *"$(cat {fails})"* ]]; then rm {fails}; exit 1; fi\n'
                f'case "$*" in *describe*) grep -q "tpu-vm create" {log} && echo READY ;; esac\nexit 0\n'
            )
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin", log, codes


@pytest.mark.parametrize(
    ("ends", "code", "attempts"), [((75, 134, 0), 0, 3), ((2,), 2, 1), ((255, 75, 75, 75), 75, 4), ((0,), 0, 1)]
)
def test_a_pod_goes_on_until_the_road_ends_or_its_input_is_bad(stand_ins, ends, code, attempts):
    """Law: 0 and 2 are final, every other code is another attempt, as often as was asked for; then no pod is left."""
    path, log, codes = stand_ins
    codes.write_text("".join(f"{end}\n" for end in ends))
    ended = ran(launcher("tpu_vm"), *GIVEN, *NEEDED["tpu_vm"], "--attempts", "4", path=path)
    assert ended.returncode == code, ended.stderr
    told = log.read_text().splitlines()
    assert sum("launch/local/trackstar.sh" in line for line in told) == attempts
    assert sum("tpu-vm create" in line for line in told) == 1 and "tpu-vm delete" in told[-1]


BROUGHT = ["jax_tda.tar.gz --worker", "jax_tda_road.gin --worker", "pip install"]


@pytest.mark.parametrize("fails", BROUGHT)
def test_a_pod_that_was_not_filled_is_filled_before_the_road_is_gone(stand_ins, fails):
    """Law: when copying or installing fails, the next attempt copies and installs again, on the same pod."""
    path, log, codes = stand_ins
    codes.write_text("75\n0\n")
    (log.parent / "fails").write_text(fails)
    ended = ran(launcher("tpu_vm"), *GIVEN, *NEEDED["tpu_vm"], path=path)
    assert ended.returncode == 0, ended.stderr
    told = log.read_text().splitlines()
    assert sum("tpu-vm create" in line for line in told) == 1
    steps = [step for line in told for step in (*BROUGHT, "launch/local/trackstar.sh") if step in line]
    assert steps == [*BROUGHT[: BROUGHT.index(fails) + 1], *BROUGHT, *["launch/local/trackstar.sh"] * 2]


def test_a_pod_that_was_kept_gets_the_present_checkout_and_config(stand_ins):
    """Law: a pod that is there already is not made, but filled once, before the road."""
    path, log, codes = stand_ins
    codes.write_text("75\n0\n")
    log.write_text("an earlier tpu-vm create\n")
    ended = ran(launcher("tpu_vm"), *GIVEN, *NEEDED["tpu_vm"], path=path)
    assert ended.returncode == 0, ended.stderr
    told = log.read_text().splitlines()[1:]
    assert not any("tpu-vm create" in line for line in told)
    assert [sum(step in line for line in told) for step in BROUGHT] == [1, 1, 1]


def test_a_pod_that_was_taken_away_is_made_and_filled_again(stand_ins):
    """Law: what was brought to the lost pod does not count for the next one."""
    path, log, codes = stand_ins
    codes.write_text("137\n0\n")
    ended = ran(launcher("tpu_vm"), *GIVEN, *NEEDED["tpu_vm"], path=path)
    assert ended.returncode == 0, ended.stderr
    told = log.read_text().splitlines()
    assert sum("made and lost" in line for line in told) == sum("tpu-vm create" in line for line in told) == 1
    assert [sum(step in line for line in told) for step in BROUGHT] == [2, 2, 2]


@pytest.mark.parametrize(
    ("end", "restarts", "again"), [(75, 0, True), (137, 1, True), (75, 3, False), (2, 0, False), (0, 0, False)]
)
def test_a_slurm_job_is_put_back_in_the_queue_unless_it_ended_or_its_input_is_bad(stand_ins, end, restarts, again):
    """Law: as above, SLURM counting the attempts; the job's exit code is the road's."""
    path, log, codes = stand_ins
    codes.write_text(f"{end}\n")
    more = {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": str(restarts)}
    ended = ran(tree.ROOT / "launch/slurm/batch.sh", str(tree.ROOT), "4", "c c", "q", "o", path=path, **more)
    assert ended.returncode == end
    told = log.read_text().splitlines()
    assert told[0] == f"srun --wait=60 {ROAD} c c q o"
    assert told[1:] == (["scontrol requeue 17"] if again else [])
