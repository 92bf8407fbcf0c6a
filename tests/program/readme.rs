//! README says what the program does: its tables are those of the program.

use crate::process::{Ran, gatepost};

const README: &str = include_str!("../../README.md");

/// The cells of the table under the header that starts with `header`, without the code marks.
fn table(header: &str) -> Vec<Vec<String>> {
    let mut lines = README.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    lines.by_ref().take_while(|line| line.starts_with('|')).map(cells).collect()
}

fn help(arguments: &[&str]) -> String {
    Ran::from(gatepost(&[arguments, &["--help"]].concat()).output().unwrap()).out
}

#[test]
fn every_command_is_in_the_table() {
    let help = help(&[]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let verbs: Vec<_> = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let verbs: Vec<_> = verbs.into_iter().filter(|verb| !verb.is_empty() && *verb != "help").collect();
    let listed = table("| Command |");
    let listed: Vec<_> = listed.iter().filter_map(|row| row[0].split(' ').nth(1)).collect();
    assert_eq!(listed, verbs);
}

#[test]
fn every_flag_of_serve_is_in_the_table_with_its_environment_and_default() {
    let help = help(&["serve"]);
    let rows = table("| Flag of `serve` |");
    let flags = help.lines().filter_map(|line| line.trim().strip_prefix("--")?.split([' ', '[']).next());
    let flags: Vec<_> = flags.map(|flag| format!("--{flag}")).collect();
    assert_eq!(rows.iter().map(|row| &row[0]).collect::<Vec<_>>(), flags.iter().collect::<Vec<_>>());
    for row in &rows {
        // Long lines are wrapped.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(&format!("[env: {}=", row[1])), "{row:?}");
        assert!(
            ["off", "none"].contains(&row[2].as_str()) || help.contains(&format!("[default: {}]", row[2])),
            "{row:?}"
        );
    }
}

#[test]
fn every_line_of_the_tour_is_a_command_line_that_the_program_understands() {
    let lines = README.lines().filter_map(|line| line.strip_prefix("$ gatepost "));
    let mut count = 0;
    for line in lines {
        // `--help` at the end asks for nothing but the parsing of what stands before it.
        let words = line.split(" && ").next().unwrap();
        let shell = format!("\"$0\" {words} --help");
        let ran =
            std::process::Command::new("sh").args(["-c", &shell, env!("CARGO_BIN_EXE_gatepost")]).output().unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        count += 1;
    }
    assert!(count >= 4, "the tour has {count} commands");
}
