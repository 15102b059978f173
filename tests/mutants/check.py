#!/usr/bin/env python3
"""Plants bugs in a copy of the workspace, one at a time, and looks whether the tests find them.

    python3 tests/mutants/check.py supervision|simulation [name ...]

Prints a line per bug, and exits with 1 if one survives. A bug that no longer fits the code, or a
copy whose tests fail before anything is planted, is an error (2). `CARGO` names another cargo."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import simulation
import supervision

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
ROOMS = {"supervision": supervision, "simulation": simulation}
# For one run of the tests, not for building them.
SECONDS_MAX = 90

# Each bug is compiled once and run once.
QUICK = {"CARGO_INCREMENTAL": "1", "CARGO_PROFILE_TEST_DEBUG": "0", "CARGO_PROFILE_DEV_DEBUG": "0"}


def cargo_test(copy: Path, room, *more: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET), **QUICK,
                   **options.pop("environment", {})}
    command = [os.environ.get("CARGO", "cargo"), "test", "-q", "--offline", *room.TESTS, *more]
    return subprocess.Popen(command, cwd=copy, env=environment, text=True, start_new_session=True,
                            stderr=subprocess.STDOUT, stdout=subprocess.PIPE)


def found(copy: Path, room) -> str | None:
    """What found the bug, or None."""
    building = cargo_test(copy, room, "--no-run")
    said, _ = building.communicate()
    if building.returncode:
        sys.exit(f"does not compile:\n{said[-2000:]}")
    # From one first seed to the next, as far as bugs have to be found.
    return next(filter(None, (failure(copy, room, seed) for seed in room.FIRST_SEEDS)), None)


def failure(copy: Path, room, seed: int) -> str | None:
    run = cargo_test(copy, room, environment={"MOBULA_SIM_SEED": str(seed)})
    try:
        said, _ = run.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        # The tests are children of cargo, in a group of their own.
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        return "the tests hang"
    if run.returncode == 0:
        return None
    failed = [line.split("'")[1] for line in said.splitlines()
              if line.startswith("thread '") and "panicked" in line]
    return f"{failed[0] if failed else 'a test'}, from seed {seed}"


def check(copy: Path, room, wanted: set[str]) -> int:
    survived = 0
    if why := found(copy, room):
        print(f"the tests fail before anything is planted: {why}")
        return 2
    for name, path, there, planted in room.MUTANTS:
        if wanted and name not in wanted:
            continue
        file = copy / path
        text = file.read_text()
        if text.count(there) != 1:
            print(f"{name}: {path} has changed; mend this script")
            return 2
        file.write_text(text.replace(there, planted))
        why = found(copy, room)
        file.write_text(text)
        survived += why is None
        print(f"{name}: {'survived' if why is None else f'found by {why}'}", flush=True)
    return 1 if survived else 0


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in ROOMS:
        print(__doc__)
        return 2
    copy = TARGET / "mutants" / "workspace"
    shutil.rmtree(copy, ignore_errors=True)
    # With times of its own: what an interrupted check has built must not pass for it.
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("target", ".git"),
                    copy_function=shutil.copy)
    try:
        return check(copy, ROOMS[sys.argv[1]], set(sys.argv[2:]))
    finally:
        shutil.rmtree(copy, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
