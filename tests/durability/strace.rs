//! strace: sees the system calls of a process, and answers some in the system's place.

use std::path::Path;
use std::process::Command;

/// Says whether strace works here; if not, says that a test was skipped.
pub fn is_there(test: &str) -> bool {
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "-D", "true"]).output();
    let problem = match traced {
        Err(error) => error.to_string(),
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    println!("{test}: SKIPPED, because strace does not work here: {}", problem.trim());
    false
}

/// The words before a command that is to be traced into a file. The command stays the process that was started.
pub fn words<'a>(trace: &'a Path, options: &[&'a str]) -> Vec<&'a str> {
    let whole = ["strace", "-D", "-f", "-q", "-ttt", "-y", "-o", trace.to_str().unwrap()];
    [&whole, options].concat()
}
