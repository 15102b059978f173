//! The cases of OTP's `supervisor_SUITE` that apply, each with one test of its name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The groups are those of the note that says which apply, and why the others do not.
const NAMES: &str = "
sup_start_normal sup_start_ignore_init sup_start_ignore_child sup_start_ignore_temporary_child
sup_start_ignore_temporary_child_start_child sup_start_ignore_temporary_child_start_child_simple
sup_start_ignore_permanent_child_start_child_simple sup_start_fail sup_start_child_returns_error
sup_start_restart_child_returns_error sup_start_child_returns_error_simple
already_started_outside_supervisor faulty_application_shutdown

sup_start_map sup_start_map_simple sup_start_map_faulty_specs child_specs child_specs_map sup_flags

sup_stop_infinity sup_stop_timeout sup_stop_timeout_dynamic sup_stop_brutal_kill
sup_stop_brutal_kill_dynamic sup_stop_race sup_stop_non_shutdown_exit_dynamic
simple_one_for_one_shutdown order_of_children

child_adm child_adm_simple which_children which_children_simple_one_for_one count_children
count_children_supervisor count_restarting_children

permanent_normal permanent_shutdown permanent_abnormal transient_normal transient_shutdown
transient_abnormal temporary_normal temporary_shutdown temporary_abnormal temporary_bystander

one_for_one one_for_one_escalation one_for_all one_for_all_escalation rest_for_one
rest_for_one_escalation simple_one_for_one simple_one_for_one_escalation
one_for_all_other_child_fails_restart rest_for_one_other_child_fails_restart multiple_restarts
simple_one_for_one_restart_ignore simple_one_for_one_corruption tree child_unlink
simple_global_supervisor

hanging_restart_loop hanging_restart_loop_rest_for_one hanging_restart_loop_simple

nonsignificant_temporary nonsignificant_transient significant_temporary significant_transient
significant_simple significant_bystander significant_escalation

do_not_save_start_parameters_for_temporary_children do_not_save_child_specs_for_temporary_children
simple_one_for_one_scale_many_temporary_children scale_start_stop_many_children
";

const CASES: usize = 75;

#[test]
fn every_case_of_the_suite_has_one_test_of_its_name() {
    let mut tests = BTreeMap::new();
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/conformance");
    for entry in fs::read_dir(place).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut before = "";
        for line in text.lines() {
            let name =
                line.strip_prefix("async fn ").filter(|_| before.starts_with("#[tokio::test"));
            if let Some((name, _)) = name.and_then(|name| name.split_once('(')) {
                *tests.entry(name.to_owned()).or_insert(0) += 1;
            }
            before = line;
        }
    }
    let cases: BTreeMap<_, _> = NAMES.split_whitespace().map(|name| (name.to_owned(), 1)).collect();
    assert_eq!(cases.len(), CASES);
    assert_eq!(tests, cases);
}
