//! What holds of any text that is read as a name.

use gatepost::domain::{GateName, Prefix, Principal};

/// What shows nothing of itself, or turns what stands beside it.
const UNSEEN: [char; 26] = [
    '\u{ad}', '\u{61c}', '\u{180e}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2028}',
    '\u{2029}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2060}', '\u{2061}', '\u{2062}',
    '\u{2063}', '\u{2064}', '\u{2065}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{feff}',
];

/// It is a name by the grammar or refused, and a name reads the same when it is written.
pub fn any_text(text: &str) {
    let parsed = GateName::parse("gate", text);
    assert_eq!(parsed.is_ok(), is_name(text), "{text:?}: {parsed:?}");
    if let Ok(name) = &parsed {
        assert_eq!(name.to_string(), text);
        assert_eq!(GateName::parse("gate", &name.to_string()).as_ref(), Ok(name));
    }
    let bare = text.strip_suffix('/').unwrap_or(text);
    let prefix = Prefix::parse("prefix", text);
    assert_eq!(prefix.is_ok(), text.is_empty() || is_name(bare), "{text:?}: {prefix:?}");
    if let (Ok(prefix), Ok(name)) = (prefix, parsed) {
        assert!(prefix.contains(&name), "{text:?} is in the group of its own name");
    }
    let is_seen = |c: char| !c.is_control() && !UNSEEN.contains(&c) && !('\u{e0000}'..='\u{e007f}').contains(&c);
    let is_principal = (1..=255).contains(&text.len()) && text.chars().all(is_seen) && text == text.trim();
    assert_eq!(Principal::parse(text).is_ok(), is_principal, "{text:?}");
}

/// The grammar of names, written without a look at the parser.
pub fn is_name(text: &str) -> bool {
    let is_segment = |segment: &str| {
        let mut bytes = segment.bytes();
        (1..=63).contains(&segment.len())
            && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let segments: Vec<_> = text.split('/').collect();
    text.len() <= 255 && segments.len() <= 8 && segments.into_iter().all(is_segment)
}
