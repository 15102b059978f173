"""Bugs in gossip and placement, and what looks for them: simulated clusters only, on 20 seeds at a
time and on 200 at most."""

GOSSIP = "src/gossip/"
PLACEMENT = "src/placement/"

TESTS = ["--no-default-features", "--test", "sim"]
FIRST_SEEDS = range(1, 200, 20)

# name, file, what stands there, what is planted
MUTANTS = [
    ("lost_refutation", GOSSIP + "apply.rs",
     "self.set_incarnation(self.me, incarnation.saturating_add(1));",
     "self.set_incarnation(self.me, incarnation);"),
    ("old_life_believed", GOSSIP + "apply.rs",
     "is_some_and(|member| boot < member.boot())",
     "is_some_and(|member| boot < member.boot() && boot == u64::MAX)"),
    ("death_told_twice", GOSSIP + "apply.rs",
     "        if lived {\n            out.push(Output::Event(event));\n        }",
     "        let _ = lived;\n        out.push(Output::Event(event));"),
    ("one_member_ends_another", GOSSIP + "accused.rs",
     "ACCUSERS_MAX.min(self.connections.len() / 2 + 1)", "ACCUSERS_MAX.min(1)"),
    ("dead_members_heard", GOSSIP + "connection.rs",
     "connection.boot < member.boot() || member.state.is_gone()",
     "connection.boot < member.boot() && member.state.is_gone()"),
    ("own_refused_dial_is_the_verdict", GOSSIP + "inquiry.rs",
     "inquiry.asked.iter().all(refused)", "inquiry.asked.iter().all(|one| refused(one) || own)"),
    ("older_record_accepted", GOSSIP + "view.rs",
     "entry.seq < seq;", "entry.seq != seq;"),
    ("newer_records_not_asked_for", GOSSIP + "view.rs",
     "                    answer = true;", "                    answer = false;"),
    ("pause_not_forgiven", GOSSIP + "membership.rs",
     "suspicion.postpone(late));", "suspicion.postpone(late - late));"),
    ("suspicion_always_short", GOSSIP + "suspicion.rs",
     "(self.longest - span).max(self.shortest)", "(self.longest - span).min(self.shortest)"),
    ("double_reservation", PLACEMENT + "ledger.rs",
     "        if let Some(device) = self.device_of(id) {",
     "        if let Some(device) = self.device_of(id).filter(|_| false) {"),
    ("verdicts_forgotten", PLACEMENT + "ledger.rs",
     "        if let Some(verdict) = self.verdicts.get(id) {",
     "        if let Some(verdict) = self.verdicts.get(id).filter(|_| false) {"),
    ("reservations_do_not_expire", PLACEMENT + "ledger.rs",
     "copied().filter(|(until, _)| *until <= now) {",
     "copied().filter(|(until, _)| until.0.saturating_mul(2) <= now.0) {"),
    ("room_given_back_elsewhere", PLACEMENT + "capacity.rs",
     "device.map_or(usize::MAX, |device| device as usize);",
     "device.map_or(usize::MAX, |_| 0);"),
    ("gang_goes_on_after_a_refusal", PLACEMENT + "gang.rs",
     "if (self.broken || late || unfinished)", "if (late || unfinished)"),
    ("gang_keeps_what_it_holds", PLACEMENT + "gang.rs",
     "Some(GangStep::Release(asked.into_iter().map(|(asked, _)| asked).collect()))",
     "Some(GangStep::Release(asked.into_iter().map(|(asked, _)| asked).skip(1).collect()))"),
    ("gang_commits_late", PLACEMENT + "gang.rs",
     "const ROUND: Duration = Duration::from_micros(RESERVATION_TTL.as_micros() as u64 / 2);",
     "const ROUND: Duration = Duration::from_micros(RESERVATION_TTL.as_micros() as u64 * 4);"),
]
