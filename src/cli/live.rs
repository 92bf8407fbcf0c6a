//! What a person sees while a wait goes on.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;

use super::text::escape;
use super::{output, sentence};
use crate::client::Error;
use crate::proto::Gate;

/// How often the spinner turns: smooth, and cheap over a slow connection.
const SPINNER_INTERVAL: Duration = Duration::from_millis(120);

/// One line on the standard error: kept up to date on a terminal, written at each change elsewhere.
pub(super) struct Live {
    bar: Option<ProgressBar>,
    name: String,
    gate: Option<Gate>,
    problem: Option<String>,
}

impl Live {
    pub(super) fn new(name: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(SPINNER_INTERVAL);
            bar
        });
        let live = Self { bar, name: escape(name), gate: None, problem: None };
        live.refresh();
        live
    }

    /// Shows that the gate has changed, or that the connection is back.
    pub(super) fn gate(&mut self, gate: &Gate) {
        let back = self.problem.take().is_some();
        let changed = self.gate.as_ref() != Some(gate);
        self.gate = Some(gate.clone());
        if self.bar.is_some() {
            self.refresh();
        } else if back || changed {
            output::note(&self.line());
        }
    }

    /// Shows that there is no connection; once, until there is one again.
    pub(super) fn disconnected(&mut self, error: &Error) {
        let first = self.problem.is_none();
        self.problem = Some(format!("no connection, trying again: {}", escape(&error.to_string())));
        if self.bar.is_some() {
            self.refresh();
        } else if first {
            output::note(&self.line());
        }
    }

    /// Brings the time left up to date.
    pub(super) fn refresh(&self) {
        if let Some(bar) = &self.bar {
            let line = self.line();
            let plain = anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never;
            bar.set_message(if plain { anstream::adapter::strip_str(&line).to_string() } else { line });
        }
    }

    /// Does something else with the terminal.
    pub(super) fn suspend<T>(&self, something: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(something),
            None => something(),
        }
    }

    fn line(&self) -> String {
        let standing = self.gate.as_ref().map(|gate| sentence::standing(gate, jiff::Timestamp::now()));
        let standing = standing.unwrap_or_else(|| "connecting".to_owned());
        let problem = self.problem.as_ref().map(|problem| format!("; {}", problem.yellow()));
        format!("{}: {standing}{}", self.name, problem.unwrap_or_default())
    }
}

/// Takes the line off the terminal.
impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
