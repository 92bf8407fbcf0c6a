//! Reads just enough Rust to tell which paths a file names: its words, without comments, texts and test modules.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Reads the Rust files below some of the repository's directories.
pub fn sources(directories: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<_> = directories.iter().map(|directory| root.join(directory)).filter(|it| it.exists()).collect();
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            files.push((file, fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!files.is_empty(), "no source in {directories:?}");
    files
}

/// Splits Rust code into words and signs; `::` is one sign. Comments are left out and texts are empty.
pub fn tokens(code: &str) -> Vec<String> {
    let chars: Vec<char> = code.chars().collect();
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let find = |from: usize, text: &str| (from..chars.len()).find(|at| starts(*at, text)).unwrap_or(chars.len());
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if starts(at, "//") {
            at = find(at, "\n");
        } else if starts(at, "/*") {
            at = find(at, "*/") + 2;
        } else if c == '"' {
            at += 1;
            while chars.get(at).is_some_and(|c| *c != '"') {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
            tokens.push("\"\"".into());
        } else if c == '\'' {
            // Three signs or an escape are a character; all else is a lifetime.
            at += match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('\\'), _) => find(at + 3, "'") + 1 - at,
                (_, Some('\'')) => 3,
                _ => 1,
            };
        } else if c.is_alphanumeric() || c == '_' {
            let end = (at..chars.len()).find(|at| !(chars[*at].is_alphanumeric() || chars[*at] == '_'));
            let word: String = chars[at..end.unwrap_or(chars.len())].iter().collect();
            at += word.chars().count();
            let hashes = (at..chars.len()).take_while(|at| chars[*at] == '#').count();
            if matches!(&*word, "r" | "br" | "cr") && chars.get(at + hashes) == Some(&'"') {
                let end = format!("\"{}", "#".repeat(hashes));
                at = find(at + hashes + 1, &end) + end.len();
                tokens.push("\"\"".into());
            } else {
                tokens.push(word);
            }
        } else if starts(at, "::") {
            at += 2;
            tokens.push("::".into());
        } else {
            at += 1;
            if !c.is_whitespace() {
                tokens.push(c.into());
            }
        }
    }
    tokens
}

/// Leaves out what is only compiled for tests: `#[cfg(test)] mod name { … }` or `mod name;`. Returns the rest, and
/// the names of the modules whose files are left out.
pub fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    const MARK: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let (mut rest, mut files) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&MARK.map(String::from)) {
            rest.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len() + 1;
        if tokens[at] == ";" {
            files.push(tokens[at - 1].clone());
        }
        let mut depth = 0;
        loop {
            match &*tokens[at] {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
    }
    (rest, files)
}

/// Lists every path of two words or more that a module names, from its root on: `crate::domain::Gate`,
/// `std::time::SystemTime::now`. `module` is the place of the file: `["store", "sled"]` for `src/store/sled.rs`.
pub fn paths(tokens: &[String], module: &[&str]) -> Vec<String> {
    let mut paths = Vec::new();
    let mut imported = HashMap::new();
    // The modules that a place in the file is in, each with the depth of its braces.
    let mut inside: Vec<(String, usize)> = Vec::new();
    let (mut at, mut depth, mut in_use) = (0, 0, false);
    while at < tokens.len() {
        match &*tokens[at] {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inside.pop_if(|(_, opened)| *opened == depth);
            }
            "use" => in_use = true,
            ";" => in_use = false,
            "mod" if tokens.get(at + 2).is_some_and(|next| next == "{") => {
                inside.push((tokens[at + 1].clone(), depth));
                at += 1;
            }
            word if is_word(word) && tokens.get(at + 1).is_some_and(|next| next == "::") => {
                let mut found = Vec::new();
                at = read_tree(tokens, at, "", &mut found);
                for (path, name) in found {
                    let place: Vec<&str> = module.iter().copied().chain(inside.iter().map(|it| &*it.0)).collect();
                    let path = from_root(&path, &place, &imported);
                    if in_use {
                        imported.insert(name, path.clone());
                    }
                    paths.push(path);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    paths
}

/// Reads `a::b`, `a::{b, c as d, self}` or `a::*` at `at` into paths with the names they get; returns where it ends.
fn read_tree(tokens: &[String], at: usize, before: &str, found: &mut Vec<(String, String)>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    if token(at) == "{" {
        let mut at = at + 1;
        while !matches!(token(at), "}" | "") {
            at = if token(at) == "," { at + 1 } else { read_tree(tokens, at, before, found) };
        }
        return at + 1;
    }
    let path = if before.is_empty() { token(at).to_owned() } else { format!("{before}::{}", token(at)) };
    if token(at + 1) == "::" && (is_word(token(at + 2)) || matches!(token(at + 2), "{" | "*")) {
        return read_tree(tokens, at + 2, &path, found);
    }
    let path = path.strip_suffix("::self").unwrap_or(&path).to_owned();
    if token(at + 1) == "as" {
        found.push((path, token(at + 2).to_owned()));
        return at + 3;
    }
    let name = path.rsplit("::").next().unwrap_or_default().to_owned();
    found.push((path, name));
    at + 1
}

/// Writes a path from the crate's root, or from that of another crate.
fn from_root(path: &str, place: &[&str], imported: &HashMap<String, String>) -> String {
    let (mut root, mut rest) = path.split_once("::").unwrap_or((path, ""));
    let mut up = 0;
    while root == "super" {
        up += 1;
        (root, rest) = rest.split_once("::").unwrap_or((rest, ""));
    }
    let below = |base: String| if rest.is_empty() { base } else { format!("{base}::{rest}") };
    if up > 0 || root == "self" {
        let mut base = vec!["crate"];
        base.extend(&place[..place.len().saturating_sub(up)]);
        base.extend((root != "self").then_some(root));
        return below(base.join("::"));
    }
    match imported.get(root) {
        Some(base) => below(base.clone()),
        None if root == "gatepost" => below("crate".to_owned()),
        None => path.to_owned(),
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
