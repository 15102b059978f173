#!/usr/bin/env python3
"""Plants bugs in a copy of the workspace, one at a time, and looks whether the tests find them.

    python3 supervision/mutants/check.py [name ...]

Prints a line per bug, and exits with 1 if one survives. A bug that no longer fits the code, or a
copy whose tests fail before anything is planted, is an error (2). `CARGO` names another cargo."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = "supervision/src/"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# For running the tests, not for building them; they take a few seconds.
SECONDS_MAX = 90

# Each bug is compiled once and run once.
QUICK = {"CARGO_INCREMENTAL": "1", "CARGO_PROFILE_TEST_DEBUG": "0", "CARGO_PROFILE_DEV_DEBUG": "0"}

# name, file, what stands there, what is planted
MUTANTS = [
    ("off_by_one_intensity", SRC + "intensity.rs",
     "self.stamps.len() <= self.max as usize", "self.stamps.len() <= self.max as usize + 1"),
    ("period_without_its_edge", SRC + "intensity.rs",
     "saturating_sub(*stamp) > self.period", "saturating_sub(*stamp) >= self.period"),
    ("lost_down_after_a_kill", SRC + "line.rs",
     "self.line.tell(self.child, epoch, What::Ended(exit));",
     "if exit != Exit::Killed { self.line.tell(self.child, epoch, What::Ended(exit)); }"),
    ("wrong_stop_order", SRC + "strategy/ending.rs",
     "self.children.last_entry()", "self.children.first_entry()"),
    ("transient_restarted_after_a_normal_exit", SRC + "strategy.rs",
     "child.rules.restart.after(&end.exit)",
     "child.rules.restart != mobula_actors::Restart::Temporary"),
    ("temporary_restarted_with_its_group", SRC + "strategy/group.rs",
     "child.again = child.rules.restart != Restart::Temporary;\n                group",
     "child.again = true;\n                group"),
    ("backoff_ignored", SRC + "strategy/child.rs",
     "|backoff| backoff.wait(now, chance)",
     "|backoff| backoff.wait(now, chance).min(Duration::ZERO)"),
    ("older_checkpoint_accepted", SRC + "checkpoint.rs",
     "if epoch < self.known {", "if epoch < self.known && epoch.0 == u64::MAX {"),
    ("node_loss_counted_per_child", SRC + "strategy.rs",
     "if self.dead.contains(node) {", "if self.dead.contains(node) && self.dead.is_empty() {"),
    ("first_significant_end_taken_for_the_last", SRC + "strategy/ending.rs",
     "significant && !self.children.values().any(|child| is_active(child))",
     "significant && !self.children.values().all(|child| is_active(child))"),
    ("ignored_restart_tried_again", SRC + "strategy.rs",
     "ChildState::Restarting if end.exit == Exit::Ignored",
     "ChildState::Restarting if end.exit == Exit::NoProc"),
    ("dynamic_keeps_its_dead", SRC + "strategy/ending.rs",
     "child.rules.restart == Restart::Temporary || self.strategy == Strategy::Dynamic",
     "child.rules.restart == Restart::Temporary"),
    ("rest_for_one_takes_all", SRC + "strategy.rs",
     "self.restart_from(key, key,", "self.restart_from(Key(0), key,"),
    ("stop_of_a_tree_asks_nobody", SRC + "member.rs",
     "Shutdown::Infinity => hold.stop(Exit::Shutdown),\n        }\n    }\n\n    /// The same",
     "Shutdown::Infinity => hold.kill(),\n        }\n    }\n\n    /// The same"),
    ("mailbox_kept_against_its_spec", "actors/src/run.rs",
     "start.on_restart == OnRestart::Drop", "start.on_restart != start.on_restart"),
    ("failed_restart_not_counted", SRC + "strategy.rs",
     "ChildState::Restarting => self.start_again(key, end),",
     "ChildState::Restarting => self.restart_one(key, &end.exit, end.now, end.chance),"),
    ("giving_up_taken_for_orderly", SRC + "strategy.rs",
     "self.end(Exit::MaxIntensity)", "self.end(Exit::Shutdown)"),
    ("ordered_stop_shuts_down", SRC + "strategy.rs",
     "ChildState::Stopping => self.stopped(key, &end.exit),\n            _ => Vec::new(),",
     "ChildState::Stopping => self.ended_for_good(key),\n            _ => Vec::new(),"),
    ("group_counted_per_child", SRC + "strategy.rs",
     "ChildState::Running if self.is_about_to_stop(key) => self.stopped_early(key, &end.exit),",
     "ChildState::Running if self.is_about_to_stop(key) => self.start_again(key, end),"),
    ("brutal_child_is_asked", SRC + "member.rs",
     "Shutdown::Brutal => self.kill(hands),", "Shutdown::Brutal => hold.stop(Exit::Shutdown),"),
    ("temporary_keeps_its_arguments", SRC + "member.rs",
     "            self.recipe = None;\n", "            self.is_new = false;\n"),
    ("orphans_not_waited_for", SRC + "supervisor.rs",
     "supervising.directory.orphans.gone().await;", "tokio::task::yield_now().await;"),
    ("supervisor_asked_once_if_needed", SRC + "supervising.rs",
     "is_some_and(|needed| !needed())", "is_some_and(|needed| !needed() && ctx.epoch().0 == 1)"),
    ("checkpoint_not_handed_on", SRC + "member.rs",
     "checkpoint: self.watch.begin(run.epoch),",
     "checkpoint: self.watch.begin(run.epoch).filter(|_| run.epoch.0 > 9),"),
    ("permanent_may_be_significant", SRC + "spec/child.rs",
     "true if is_permanent =>", "true if is_permanent && self.id.is_empty() =>"),
]


def found(copy: Path) -> str | None:
    """What found the bug, or None."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "test", "-q", "--offline", "-p", "mobula-supervision", "--lib", "--tests"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET), **QUICK}
    built = subprocess.run([*command, "--no-run"], cwd=copy, env=environment, text=True,
                           stderr=subprocess.PIPE)
    if built.returncode:
        sys.exit(f"does not compile:\n{built.stderr[-2000:]}")
    run = subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, start_new_session=True)
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
    return failed[0] if failed else "a test"


def check(copy: Path, wanted: set[str]) -> int:
    survived = 0
    if why := found(copy):
        print(f"the tests fail before anything is planted: {why}")
        return 2
    for name, path, there, planted in MUTANTS:
        if wanted and name not in wanted:
            continue
        file = copy / path
        text = file.read_text()
        if text.count(there) != 1:
            print(f"{name}: {path} has changed; mend this script")
            return 2
        file.write_text(text.replace(there, planted))
        why = found(copy)
        file.write_text(text)
        survived += why is None
        print(f"{name}: {'survived' if why is None else f'found by {why}'}", flush=True)
    return 1 if survived else 0


def main() -> int:
    copy = TARGET / "mutants" / "workspace"
    shutil.rmtree(copy, ignore_errors=True)
    # With times of its own: what an interrupted check has built must not pass for it.
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("target", ".git"),
                    copy_function=shutil.copy)
    try:
        return check(copy, set(sys.argv[1:]))
    finally:
        shutil.rmtree(copy, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
