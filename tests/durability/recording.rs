//! What a process did to the files of a store, and when: its system calls, as strace saw them.
//!
//! strace writes a line where a call begins and one where it ends (or one for both, if nothing came between). A call has no
//! effect outside of its lines, so the numbers of the lines are the time of the recording.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::image::{BALLAST, Files, Kept, read_files};
use crate::strace;
use crate::workload::{ACKNOWLEDGED, Workload};

/// The calls that change files or names, or make them durable.
const CALLS: &str =
    "trace=openat,write,pwrite64,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync";

/// A recording of a workload.
pub struct Recording {
    /// The files when it began, all durable.
    pub base: Files,
    /// What was done to them, in the order in which it began.
    pub calls: Vec<Call>,
    /// When which revision was acknowledged.
    acknowledged: Vec<(usize, u64)>,
    /// Kept until its files were read.
    home: TempDir,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// What it does.
    pub does: Does,
    /// When it began.
    pub began: usize,
    /// When it had ended.
    pub ended: usize,
    /// When the first sync ended that began after it had.
    pub durable: usize,
}

/// What a call does. Paths are relative to the store's directory.
#[derive(Debug)]
pub enum Does {
    Create(String),
    Write { path: String, offset: usize, bytes: Vec<u8> },
    Truncate { path: String, size: usize },
    Rename { from: String, to: String },
    Unlink(String),
    Sync(String),
    Acknowledge(u64),
}

impl Recording {
    /// Runs a workload on what a cut has left, or on nothing, and records it.
    pub fn of(workload: Workload, base: Files) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (data, trace) = (home.path().join("data"), home.path().join("trace"));
        base.write(&data);
        workload.run_under(&strace::words(&trace, &["-xx", "-s", "100000000", "-e", CALLS]), &data);
        let mut calls = parse(&fs::read_to_string(&trace).unwrap(), &data);
        let mut acknowledged = Vec::new();
        for call in &calls {
            if let Does::Acknowledge(revision) = call.does {
                acknowledged.push((call.began, revision));
            }
        }
        calls.retain(|call| !matches!(call.does, Does::Acknowledge(_)));
        find_durable(&mut calls);
        let recording = Self { base, calls, acknowledged, home };
        let (rebuilt, read) = (recording.image(usize::MAX, &mut Kept::All), read_files(&data));
        assert!(rebuilt == read, "the recording does not explain {:?}", rebuilt.differences(&read));
        recording
    }

    /// Where its files are.
    pub fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }

    /// The last revision that was acknowledged before a moment.
    pub fn acknowledged(&self, at: usize) -> u64 {
        let before = self.acknowledged.iter().filter(|(when, _)| *when < at);
        before.map(|(_, revision)| *revision).max().unwrap_or(0)
    }

    /// Chooses a moment just after a call began or ended.
    pub fn moment(&self, random: &mut fastrand::Rng) -> usize {
        let call = &self.calls[random.usize(..self.calls.len())];
        1 + if random.bool() { call.began } else { call.ended }
    }

    /// Forgets every sync of a file, as if the store had left them out.
    pub fn forget_syncs(&mut self) {
        for call in &mut self.calls {
            if let Does::Write { .. } | Does::Truncate { .. } = call.does {
                call.durable = usize::MAX;
            }
        }
    }
}

/// Finds when each call was durable: a sync of the file, or, for a name, of its directory.
fn find_durable(calls: &mut [Call]) {
    let mut syncs: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
    for call in &*calls {
        if let Does::Sync(path) = &call.does {
            syncs.entry(path.clone()).or_default().push((call.began, call.ended));
        }
    }
    for call in calls {
        let synced = match &call.does {
            Does::Write { path, .. } | Does::Truncate { path, .. } => path.as_str(),
            Does::Create(path) | Does::Rename { to: path, .. } | Does::Unlink(path) => {
                path.rsplit_once('/').map_or("", |(directory, _)| directory)
            }
            Does::Sync(_) | Does::Acknowledge(_) => continue,
        };
        let after = syncs.get(synced).into_iter().flatten().filter(|(began, _)| *began > call.ended);
        call.durable = after.map(|(_, ended)| *ended).min().unwrap_or(usize::MAX);
    }
}

fn parse(trace: &str, data: &Path) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut positions: BTreeMap<String, usize> = BTreeMap::new();
    for (number, line) in trace.lines().enumerate() {
        // A thread, the time, and the call.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((_, call)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(begins) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, begins));
            continue;
        }
        let (began, text, result) = if call.starts_with("<... ") {
            let (began, begins) = unfinished.remove(thread).unwrap();
            (began, begins, call)
        } else {
            (number, call, call)
        };
        let Some((_, result)) = result.rsplit_once(" = ") else { continue };
        let Some(does) = parse_call(text, result, data, &mut positions) else { continue };
        calls.push(Call { does, began, ended: number, durable: usize::MAX });
    }
    calls.sort_by_key(|call| call.began);
    calls
}

/// Reads one call; none if it failed, or if it concerns other files.
fn parse_call(text: &str, result: &str, data: &Path, positions: &mut BTreeMap<String, usize>) -> Option<Does> {
    if result.starts_with('-') {
        return None;
    }
    let (name, arguments) = text.split_once('(')?;
    let strings: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
    let descriptor = || {
        let path = arguments.split_once('<')?.1.split_once('>')?.0;
        String::from_utf8(unhex(path)).ok()
    };
    let inside = |path: String| {
        let inside = Path::new(&path).strip_prefix(data).ok()?.to_str()?.to_owned();
        Some(inside).filter(|path| path != BALLAST)
    };
    let named = |index: usize| inside(String::from_utf8(unhex(strings.get(index)?)).ok()?);
    match name {
        "openat" => {
            let path = named(0)?;
            positions.insert(path.clone(), 0);
            assert!(!arguments.contains("O_TRUNC"), "a call that is not modelled: {arguments}");
            arguments.contains("O_CREAT").then_some(Does::Create(path))
        }
        "write" => {
            let (path, bytes) = (descriptor()?, unhex(strings.first()?));
            if Path::new(&path) == data.with_file_name(ACKNOWLEDGED) {
                return Some(Does::Acknowledge(String::from_utf8(bytes).ok()?.trim().parse().ok()?));
            }
            let path = inside(path)?;
            let position = positions.get_mut(&path)?;
            let offset = *position;
            *position += bytes.len();
            Some(Does::Write { path, offset, bytes })
        }
        "pwrite64" => {
            let (path, bytes) = (inside(descriptor()?)?, unhex(strings.first()?));
            let offset = last_number(arguments)?;
            Some(Does::Write { path, offset, bytes })
        }
        "ftruncate" => Some(Does::Truncate { path: inside(descriptor()?)?, size: last_number(arguments)? }),
        "rename" => Some(Does::Rename { from: named(0)?, to: named(1)? }),
        "unlink" => Some(Does::Unlink(named(0)?)),
        // It sets blocks aside, and changes nothing that is read.
        "fallocate" if arguments.contains("FALLOC_FL_KEEP_SIZE") => None,
        "fsync" | "fdatasync" => Some(Does::Sync(inside(descriptor()?)?)),
        _ => {
            let known = inside(descriptor().unwrap_or_default()).or_else(|| named(0));
            assert!(known.is_none(), "a call that is not modelled: {name}({arguments}");
            None
        }
    }
}

/// Reads the last argument of a call.
fn last_number(arguments: &str) -> Option<usize> {
    let arguments = arguments.rsplit_once(" = ").map_or(arguments, |(arguments, _)| arguments);
    arguments.trim_end().trim_end_matches(')').rsplit(", ").next()?.parse().ok()
}

/// Reads strace's `\x2f`.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap();
    text.as_bytes().chunks_exact(4).map(|byte| digit(byte[2]) * 16 + digit(byte[3])).collect()
}
