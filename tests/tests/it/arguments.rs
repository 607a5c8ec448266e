//! Items as arguments of functions with several parameters.

use crate::support::guest::{Task, wat};
use crate::support::run::map;
use crate::support::wat::{minus, minus_twice, no_parameter};

#[track_caller]
fn prints(task: &Task, args: &[&str], input: &str, wanted: &str) {
    let output = map(task).args(args).input(input).run().exits(0);
    assert_eq!(output.text(), wanted, "with {args:?}");
}

#[test]
fn an_array_fills_the_parameters_in_order() {
    prints(&wat(minus()), &[], "[10,3]\n[3,10]\n", "7\n-7\n");
}

#[test]
fn an_object_fills_the_parameters_by_name() {
    let input = "{\"from\":10,\"take\":3}\n{\"take\":3,\"from\":10}\n";
    prints(&wat(minus()), &[], input, "7\n7\n");
}

#[test]
fn an_array_fills_the_parameters_of_a_core_module() {
    let task = wat(r#"(module (func (export "minus") (param i32 i32) (result i32)
             (i32.sub (local.get 0) (local.get 1))))"#);
    prints(&task, &[], "[10,3]\n", "7\n");
}

#[test]
fn a_bound_parameter_is_left_out_of_the_item() {
    prints(&wat(minus()), &["--arg", "take=3"], "10\n", "7\n");
    prints(&wat(minus()), &["--arg", "from=3"], "10\n", "-7\n");
}

#[test]
fn a_bound_parameter_leaves_the_rest_an_array_or_an_object() {
    let task = wat(minus_twice());
    prints(&task, &["--arg", "take=1"], "[10,2]\n", "7\n");
    prints(&task, &["--arg", "from=10"], "{\"more\":2,\"take\":1}\n", "7\n");
    prints(&task, &["--arg", "take=1", "--arg", "more=2"], "10\n", "7\n");
}

#[test]
fn arrays_of_the_wrong_length_and_wrong_names_are_invalid_input() {
    let input = "[10,3]\n[10]\n[10,3,1]\n7\n{\"from\":10}\n{\"from\":1,\"take\":1,\"more\":1}\n[]\n{}\n";
    let output = map(&wat(minus())).args(["--output-format", "records"]).input(input).run().exits(1);
    let mut wanted = vec!["invalid-input"; 8];
    wanted[0] = "ok";
    assert_eq!(output.kinds(), wanted);
}

#[test]
fn a_function_of_no_parameter_takes_null_only() {
    let output = map(&wat(no_parameter()))
        .args(["--output-format", "records"])
        .input("null\n1\nnull\n[]\n\"\"\n")
        .run()
        .exits(1);
    let wanted = ["ok", "invalid-input", "ok", "invalid-input", "invalid-input"];
    assert_eq!(output.kinds(), wanted);
}
