//! Where results and errors are written.

use std::io::{self, Write};

use clap::ValueEnum;
use owo_colors::OwoColorize;
use prost::{Message, Name};

use super::failure::Failure;
use super::text;
use crate::proto;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: the API's messages as JSON, one a line
    Json,
}

impl Output {
    /// Writes one message, or what it says to people.
    pub(super) fn write<M: Message + Name>(
        self,
        message: &M,
        to_text: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Text => line(&to_text(message)),
            Self::Json => line(&json(message)?),
        }
    }

    /// Writes messages, or a table of them; to people also that there are none.
    pub(super) fn write_all<M: Message + Name>(
        self,
        messages: &[M],
        none: &str,
        to_table: impl FnOnce(&[M]) -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Json => messages.iter().try_for_each(|message| line(&json(message)?)),
            Self::Text if messages.is_empty() => {
                note(none);
                Ok(())
            }
            Self::Text => line(&to_table(messages)),
        }
    }
}

/// Writes lines to the standard output, in colours if a terminal wants them.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::PipeClosed),
        Err(error) => Err(Failure::Here(format!("cannot write the output: {error}"))),
    }
}

/// Lets a command go on that is about more than its output, when nobody reads that any more.
pub(super) fn even_if_closed(written: Result<(), Failure>) -> Result<(), Failure> {
    match written {
        Err(Failure::PipeClosed) => Ok(()),
        other => other,
    }
}

/// Writes a line that is no result to the standard error.
pub(super) fn note(text: &str) {
    // Nobody can be told that nobody can be told.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Writes what may go wrong.
pub(super) fn warning(text: &str) {
    note(&format!("{} {text}", "warning:".yellow().bold()));
}

/// Writes what went wrong.
pub(super) fn error(text: &str) {
    note(&format!("{} {text}", "error:".red().bold()));
}

fn json<M: Message + Name>(message: &M) -> Result<String, Failure> {
    proto::to_json(message).map(|json| text::escape_json(&json)).map_err(|error| Failure::Here(error.to_string()))
}
