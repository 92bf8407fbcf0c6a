//! What a power cut may leave of recorded calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::path::Path;

use crate::recording::{Call, Does, Recording};

/// What a disk writes as one.
const SECTOR: usize = 512;

/// The files of a store, by their paths in its directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Vec<u8>>);

/// What is kept of the writes that no sync has made durable.
pub enum Kept {
    /// All: the moment without a cut.
    All,
    /// None.
    Nothing,
    /// Those inside of the size that the file has for certain.
    NoGrowth,
    /// Some sectors, and the first of the changed names: one in so many is lost.
    Some(fastrand::Rng, u8),
}

impl Files {
    /// Writes them into a directory, with the directories that a store makes first of all.
    pub fn write(&self, data: &Path) {
        fs::create_dir_all(data).unwrap();
        for (path, bytes) in &self.0 {
            fs::create_dir_all(data.join("sled/blobs")).unwrap();
            fs::write(data.join(path), bytes).unwrap();
        }
    }

    /// The bytes of a file.
    pub fn bytes(&mut self, path: &str) -> &mut Vec<u8> {
        self.0.get_mut(path).unwrap()
    }

    /// Names the files that differ.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys());
        let differ = names.filter(|name| self.0.get(*name) != other.0.get(*name));
        differ.map(|name| format!("{name}: {:?} and {:?} bytes", self.size(name), other.size(name))).collect()
    }

    fn size(&self, name: &str) -> Option<usize> {
        self.0.get(name).map(Vec::len)
    }
}

/// Reads the files of a directory.
pub fn read_files(data: &Path) -> Files {
    let mut files = Files::default();
    for directory in ["", "sled", "sled/blobs"] {
        for entry in fs::read_dir(data.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(data).unwrap().to_str().unwrap().to_owned();
                files.0.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Files as they come to be: a renamed one is the same file.
struct Building {
    contents: Vec<Vec<u8>>,
    /// The names that the process saw.
    seen: HashMap<String, usize>,
    /// The names that the cut leaves.
    kept: BTreeMap<String, usize>,
}

impl Recording {
    /// Builds what a cut leaves.
    pub fn image(&self, at: usize, kept: &mut Kept) -> Files {
        let sizes = match kept {
            Kept::NoGrowth => self.build(at, &mut Kept::Nothing, &[]).contents.iter().map(Vec::len).collect(),
            _ => Vec::new(),
        };
        let built = self.build(at, kept, &sizes);
        Files(built.kept.iter().map(|(name, file)| (name.clone(), built.contents[*file].clone())).collect())
    }

    fn build(&self, at: usize, kept: &mut Kept, sizes: &[usize]) -> Building {
        let base = || self.base.0.keys().cloned().zip(0..);
        let mut building = Building {
            contents: self.base.0.values().cloned().collect(),
            seen: base().collect(),
            kept: base().collect(),
        };
        let mut names_are_kept = true;
        for call in self.calls.iter().filter(|call| call.began < at) {
            let is_durable = call.durable < at;
            match &call.does {
                Does::Write { path, offset, bytes } => {
                    let file = building.seen[path];
                    let size = sizes.get(file).copied().unwrap_or_default();
                    let content = &mut building.contents[file];
                    match kept {
                        _ if is_durable => put(content, *offset, bytes),
                        Kept::All => put(content, *offset, bytes),
                        Kept::Nothing => {}
                        Kept::NoGrowth => {
                            put(content, *offset, &bytes[..size.saturating_sub(*offset).min(bytes.len())]);
                        }
                        Kept::Some(random, lost) => put_some(content, *offset, bytes, random, *lost),
                    }
                }
                Does::Truncate { path, size } => {
                    let is_kept = is_durable || kept.keeps();
                    let content = &mut building.contents[building.seen[path]];
                    if is_kept {
                        content.resize(*size, 0);
                    }
                }
                Does::Create(_) | Does::Rename { .. } | Does::Unlink(_) => {
                    // A journal keeps their order.
                    names_are_kept = is_durable || names_are_kept && (kept.keeps() || matches!(kept, Kept::NoGrowth));
                    building.name(call, names_are_kept);
                }
                Does::Sync(_) | Does::Acknowledge(_) => {}
            }
        }
        building
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Nothing => f.write_str("nothing"),
            Self::NoGrowth => f.write_str("no growth"),
            Self::Some(random, lost) => write!(f, "all but 1 in {lost} (seed {})", random.get_seed()),
        }
    }
}

impl Kept {
    /// Decides about a change that is kept or not as a whole.
    fn keeps(&mut self) -> bool {
        match self {
            Self::All => true,
            Self::Nothing | Self::NoGrowth => false,
            Self::Some(random, lost) => random.u8(..*lost) > 0,
        }
    }
}

impl Building {
    fn name(&mut self, call: &Call, is_kept: bool) {
        match &call.does {
            Does::Create(path) => {
                if !self.seen.contains_key(path) {
                    self.seen.insert(path.clone(), self.contents.len());
                    self.contents.push(Vec::new());
                }
                if is_kept {
                    self.kept.insert(path.clone(), self.seen[path]);
                }
            }
            Does::Rename { from, to } => {
                let file = self.seen.remove(from).unwrap();
                self.seen.insert(to.clone(), file);
                if is_kept && self.kept.remove(from).is_some() {
                    self.kept.insert(to.clone(), file);
                }
            }
            Does::Unlink(path) => {
                self.seen.remove(path);
                if is_kept {
                    self.kept.remove(path);
                }
            }
            Does::Write { .. } | Does::Truncate { .. } | Does::Sync(_) | Does::Acknowledge(_) => {}
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    content.resize(content.len().max(offset + bytes.len()), 0);
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Puts those sectors that are kept.
fn put_some(content: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut fastrand::Rng, lost: u8) {
    let mut from = 0;
    while from < bytes.len() {
        let to = bytes.len().min(from + SECTOR - (offset + from) % SECTOR);
        if random.u8(..lost) > 0 {
            put(content, offset + from, &bytes[from..to]);
        }
        from = to;
    }
}
