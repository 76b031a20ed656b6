"""A run's folder: one process at a time, whole files, the same schedule; what fails is one line and loses nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from core.errors import UserError, printable
from core.files import Lock, remove_temporaries
from core.interrupts import hold_signals
from core.precision import resolve_precision
from core.runtime import choose_device, control_group_cores, usable_threads
from training import distributed as parallel
from training import run as training_run
from training.config import RunConfig
from training.front import expand, folder_name, summarise
from training.run import Run
from training.schedule import linear_end, warmup_cosine

CPU = torch.device("cpu")


@dataclass
class Training:
    run: RunConfig = field(default_factory=RunConfig)
    lr: float = 0.1


def begin(folder: Path, **settings) -> Run:
    given = {"root": str(folder), "name": "x", "steps": 4, "log_every": 1, "save_every": 1, "threads": 1}
    config = Training(RunConfig(**given | settings))
    return Run(config, config.run, CPU)


def train(run: Run, until: int | None = None) -> list[int]:
    state, done = run.restore(), []
    for step in run.steps(state):
        run.log(step, loss=1.0 / (step + 1))
        done.append(step)
        if step == until:
            break
        if run.save_due(step):
            run.save(step, weights=torch.ones(2000))
    return done


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "x" / "metrics.jsonl").read_text().splitlines()]


# ---- one process at a time ----


def test_a_second_process_of_a_run_is_refused_and_a_dead_one_leaves_no_lock(tmp_path, root):
    program = (
        "import sys, time; from pathlib import Path; from core.files import Lock\n"
        "lock = Lock(Path(sys.argv[1]), 'choose another run.name'); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True, cwd=root
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(
            UserError, match=rf"in use by another process \(pid {other.pid}\); choose another"
        ):
            Lock(tmp_path, "choose another run.name")
        other.kill()
        other.wait()
    first = Lock(tmp_path, "")  # of the dead process
    second = Lock(tmp_path, "")  # this process's own
    assert first and second


def test_what_killed_saves_left_is_removed_at_the_next_start(tmp_path):
    train(begin(tmp_path))
    left = [tmp_path / "x" / name for name in (".checkpoint.pt.ab12_x9z", ".config.yaml.00000000")]
    for path in left:
        path.write_bytes(b"half")
    kept = tmp_path / "x" / ".notes.of.mine"
    kept.touch()
    assert begin(tmp_path).restore()["step"] == 4
    assert not any(path.exists() for path in left) and kept.exists()
    remove_temporaries(tmp_path / "nowhere")


# ---- damaged files ----


@pytest.mark.parametrize("content", [b"", b"hello world\n", b"PK", b"<html>", b"\x80\x02]."])
def test_a_checkpoint_that_is_none_is_one_line(content, tmp_path):
    run = begin(tmp_path)
    run.checkpoint.write_bytes(content)
    with pytest.raises(UserError, match="checkpoint.pt") as error:
        run.restore()
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


def test_flipped_bits_of_a_checkpoint_are_seen(tmp_path):
    run = begin(tmp_path)
    train(run)
    whole = run.checkpoint.read_bytes()
    at = whole.index(torch.ones(2000).numpy().tobytes()) + 4000
    run.checkpoint.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    with pytest.raises(UserError, match="checkpoint.pt"):
        begin(tmp_path).restore()


@pytest.mark.parametrize("state", [[1, 2], {}, {"step": "four", "elapsed": 1.0}, {"step": 2}])
def test_a_file_of_something_else_is_no_checkpoint(state, tmp_path):
    run = begin(tmp_path)
    torch.save(state, run.checkpoint)
    with pytest.raises(UserError, match="checkpoint.pt"):
        run.restore()


def test_a_part_that_a_checkpoint_lacks_is_named(tmp_path):
    train(begin(tmp_path))
    with pytest.raises(UserError, match='holds no "optimizer": it is not of this training'):
        begin(tmp_path).restore()["optimizer"]


@pytest.mark.parametrize("content", [b"{", b"a: [", b"- 1\n- 2\n", b"\xff\xfe\x00", b"run: 3\n", b"\x00"])
def test_a_config_that_was_edited_into_something_else_is_one_line(content, tmp_path):
    train(begin(tmp_path))
    (tmp_path / "x" / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match="config.yaml") as error:
        begin(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("header", [{}, [], {"training": None}, {"training": {"steps": "all"}}])
def test_a_model_without_its_training_is_written_again(header, tmp_path):
    run = begin(tmp_path)
    train(run)
    run.model_folder.mkdir()
    (run.model_folder / "config.json").write_text(json.dumps(header))
    assert not run.is_complete(run.restore())


# ---- disks ----


def test_a_failing_disk_is_one_line_and_the_checkpoint_is_kept(tmp_path, monkeypatch):
    train(begin(tmp_path), until=2)
    run = begin(tmp_path)
    state = run.restore()
    steps = run.steps(state)
    step = next(steps)
    (tmp_path / "x" / "metrics.jsonl").unlink()
    (tmp_path / "x" / "metrics.jsonl").mkdir()  # in the way; a full disk fails at the same place
    with pytest.raises(UserError, match="cannot write .*metrics.jsonl: .*the checkpoint of step 2 is kept"):
        run.log(step, loss=1.0)
    (tmp_path / "x" / "metrics.jsonl").rmdir()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    with pytest.raises(UserError, match="cannot write .*tensorboard: No space left.*step 2 is kept"):
        run.log(step, loss=1.0)
    (tmp_path / "x" / "samples").touch()
    with pytest.raises(UserError, match="cannot make the folder .*samples"):
        run.image(step, "grid", torch.zeros(3, 4, 4, dtype=torch.uint8))
    steps.close()
    assert begin(tmp_path).restore()["step"] == 2


def test_a_line_cut_by_a_full_disk_is_made_again(tmp_path):
    train(begin(tmp_path), until=2)
    with open(tmp_path / "x" / "metrics.jsonl", "a") as file:
        file.write('{"step": 1, "lo')
    train(begin(tmp_path))
    assert [line["step"] for line in lines(tmp_path)] == [0, 1, 2, 3]


# ---- what a continuation computes ----


def test_not_a_number_is_answered_with_advice_that_can_be_followed(tmp_path):
    run = begin(tmp_path, precision="bf16")
    with pytest.raises(UserError, match="start it again under another run.name .*run.precision=fp32"):
        run.log(0, loss=float("nan"))


def test_precision_is_that_of_the_first_start(tmp_path, monkeypatch):
    capable = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capable)
    run = begin(tmp_path)
    assert run.settings.precision == "bf16"
    train(run)
    capable.clear()  # another machine
    assert resolve_precision(CPU, "auto") == "fp32"
    assert begin(tmp_path).settings.precision == "bf16"
    assert begin(tmp_path, name="y").settings.precision == "fp32"
    with pytest.raises(UserError, match=r"run.precision \(bf16 then, fp32 now\)"):
        begin(tmp_path, precision="fp32")


def test_a_gpu_without_bfloat16_trains_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    config = Training(RunConfig(root=str(tmp_path), name="x", threads=1))
    Run(config, config.run, torch.device("cuda"))
    assert config.run.precision == "fp32"


def test_more_steps_go_on_at_the_last_rate(tmp_path, capsys):
    run = begin(tmp_path)
    train(run)
    longer = begin(tmp_path, steps=8)
    assert train(longer) == [4, 5, 6, 7]
    assert longer.horizon == 4 and "follow the 4 steps it was started with" in capsys.readouterr().err
    again = begin(tmp_path, steps=9)
    again.restore()
    assert again.horizon == 4
    rates = [warmup_cosine(step, longer.horizon, warmup=1) for step in range(8)]
    assert rates[3:] == sorted(rates[3:], reverse=True) and rates[4:] == pytest.approx([0.05] * 4)
    assert [linear_end(step, 4, 0.5) for step in range(6)] == [1, 1, 1, 0.5, 0, 0]


# ---- stopping ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_after_a_step_that_is_saved(number, tmp_path):
    run = begin(tmp_path, save_every=1000)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 2; the same command goes on from there"):
        for step in run.steps(run.restore()):
            if step == 1:
                os.kill(os.getpid(), number)
            if run.save_due(step):
                run.save(step)
    assert begin(tmp_path).restore()["step"] == 2


def test_signals_are_left_alone_in_other_threads():
    seen = []

    def hold():
        with hold_signals(seen.append):
            seen.append("held")

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert seen == ["held"]


STOPPED = """
import hashlib, sys, time
sys.path.insert(0, {root!r})
from core.errors import run_cli
def main():
    print("begun", flush=True)
    {body}
run_cli(main)
"""


@pytest.mark.parametrize(
    "body, numbers, code, said",
    [
        ("time.sleep(60)", [signal.SIGTERM], 143, "stopped"),
        ("time.sleep(60)", [signal.SIGINT], 130, "stopped"),
        # a product of matrices inside which Python runs no handler
        ("hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)", [signal.SIGTERM] * 2, 143, "stopped at once"),
    ],
)  # fmt: skip
def test_a_command_ends_at_a_signal_and_at_once_at_the_second(body, numbers, code, said, root):
    program = STOPPED.format(root=str(root), body=body)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        time.sleep(0.2)
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.6 if len(numbers) > 1 else 0)
        error = process.communicate(timeout=20)[1]
    assert process.returncode == code and said in error and "Traceback" not in error


# ---- settings of the process ----


def test_devices_are_answered_with_the_nearest():
    for device, meant in {
        "gpu": "cuda",
        "0": "cuda:0",
        "mps": "cuda",
        "cpi": "cpu",
        "cuda-0": "cuda",
    }.items():
        with pytest.raises(UserError, match=rf'device "{device}" is unknown \(did you mean "{meant}'):
            choose_device(device)
    for device in ("tpu", "", "cuda:x"):
        with pytest.raises(UserError, match=f'device "{device}" is unknown.*choose one of auto, cpu, cuda'):
            choose_device(device)
    assert choose_device("cpu") == CPU


def test_threads_follow_omp_num_threads_and_the_control_group(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert usable_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)
    assert control_group_cores(tmp_path) == float("inf")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert control_group_cores(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert control_group_cores(tmp_path) == float("inf")


def test_several_processes_are_refused_where_they_would_not_share(monkeypatch):
    parallel.refuse_several("train_x.py")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        UserError, match="train_x.py trains in one process, and 2 would each train everything"
    ):
        parallel.refuse_several("train_x.py")


def test_memory_and_lost_processes_are_one_line(monkeypatch):
    with pytest.raises(UserError, match="not enough memory"), parallel.explained():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(RuntimeError, match="anything else"), parallel.explained():
        raise RuntimeError("anything else")
    monkeypatch.setattr(parallel.dist, "is_initialized", lambda: True)
    with pytest.raises(UserError, match="another process of this training ended"), parallel.explained():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:545] Read error: Connection reset by peer\nGLHF!")


# ---- sweeps ----


def test_a_sweep_is_every_combination():
    single, runs = expand(["gan=dfgan", "run.seed=0,1", "gan.damsm_weight=0.5,2"])
    assert single == ["gan=dfgan"]
    assert [run[1:] for run in runs] == [
        [f"run.seed={seed}", f"gan.damsm_weight={weight}"] for seed in (0, 1) for weight in (0.5, 2)
    ]
    with pytest.raises(UserError, match="has nothing to sweep over"):
        expand(["run.seed=0"])


def test_the_folder_of_a_sweeps_run_needs_no_quotes():
    assert folder_name("gan.width-16-run.seed-1", 0) == "gan.width-16-run.seed-1"
    assert folder_name("data.root-/a b=(c),d", 0) == "data.root-_a_b_c_d"
    assert folder_name("", 3) == "3" and folder_name("..", 4) == "4"
    assert len(folder_name("x" * 500, 5)) < 130


def test_a_sweep_is_summarised(tmp_path, capsys):
    for name, loss in (("width-4", 0.5), ("width-8", 0.25)):
        (tmp_path / name).mkdir()
        measured = [{"step": 0, "loss": 9.0}, {"step": 1, "loss": loss}, {"step": 1, "accuracy": 1.0}]
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in measured))
    summarise(tmp_path)
    assert (tmp_path / "summary.csv").read_text().splitlines() == [
        "run,step,loss,accuracy", "width-4,1,0.5,1.0", "width-8,1,0.25,1.0",
    ]  # fmt: skip
    assert "width-8  step 1, loss 0.25, accuracy 1" in capsys.readouterr().out


def test_a_checkpoint_with_older_names_of_tensors_goes_on(tmp_path):
    run = begin(tmp_path)
    optimizer = {"state": {0: {"trunk": torch.ones(1)}}, "param_groups": []}
    run.save(0, model={"0.trunk.weight": torch.ones(2)}, optimizer=optimizer, before={"hours": 1.0})
    state = begin(tmp_path, name="x").restore()
    assert list(state["model"]) == ["0.backbone.weight"] and state["before"] == {"hours": 1.0}
    assert state["optimizer"] == optimizer and state["step"] == 1


# ---- TensorBoard ----


def test_tensorboard_has_text_sound_pictures_rates_and_hyperparameters(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = begin(tmp_path)
    for step in run.steps(run.restore()):
        run.log(step, loss=1.0)
        run.rates(step, generator=0.1)
        run.text(step, "transcript", "a red bird")
        run.audio(step, "clip", torch.zeros(160), 16_000)
        run.image(step, "grid", torch.zeros(3, 4, 4, dtype=torch.uint8))
        run.save(step)
    run.record(3, accuracy=1.0)
    board = EventAccumulator(str(tmp_path / "x" / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert {"loss", "learning_rate/generator", "accuracy"} <= set(tags["scalars"])
    assert (
        "grid" in tags["images"] and "clip" in tags["audio"] and "transcript/text_summary" in tags["tensors"]
    )
    assert "_hparams_/session_start_info" in board.summary_metadata
    assert "learning_rate/generator" not in lines(tmp_path)[0]


# ---- errors ----


def test_control_characters_and_bytes_are_printed_as_escapes():
    assert printable("x\x1b]0;pwned\x07\nerror: all is well") == r"x\x1b]0;pwned\x07\nerror: all is well"
    assert printable("bird \udcff \u202e") == r"bird \xff \u202e" and printable("grün — ok") == "grün — ok"
    assert training_run.FREE_KEYS[0] == "run.steps"
