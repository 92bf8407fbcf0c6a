//! Text from elsewhere made safe to show, and times and durations as people read and write them.

use std::collections::HashSet;

use jiff::{SignedDuration, Span, SpanRound, Unit};

use crate::proto::{self, Timestamp};

/// Escapes what would move the cursor, change colours or reorder what is read, so that no name, reason or comment can
/// make a terminal show something else than it is.
pub(super) fn escape(text: &str) -> String {
    escape_with(text, |c| c.escape_default().to_string())
}

/// Does the same to the strings of a JSON text, which stays the same JSON.
pub(super) fn escape_json(json: &str) -> String {
    escape_with(json, |c| format!("\\u{:04x}", u32::from(c)))
}

/// Reads `KEY=VALUE`; a value may have a `=` itself.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("there is no = in it")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Returns the first of some keys that was there before.
pub(super) fn repeated<'a>(keys: impl IntoIterator<Item = &'a String>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    keys.into_iter().find(|key| !seen.insert(key.as_str())).map(String::as_str)
}

/// Says how long: `5m`, `1h 30m`.
pub(super) fn duration(duration: &proto::Duration) -> String {
    format!("{:#}", SignedDuration::new(duration.seconds, duration.nanos))
}

/// Says when: `2026-01-02 15:04:05Z`.
pub(super) fn exact(time: &Timestamp) -> String {
    time_of(time).map_or_else(|| "at an unknown time".to_owned(), |time| time.strftime("%F %TZ").to_string())
}

/// Says how far away a time is: `in 4m 12s`, `3m ago`, `now`.
pub(super) fn relative(time: &Timestamp, now: jiff::Timestamp) -> String {
    let Some(time) = time_of(time) else { return "at an unknown time".to_owned() };
    let distance = time.duration_since(now);
    match distance.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", short(distance, Detail::Two)),
        _ => format!("{} ago", short(distance.abs(), Detail::One)),
    }
}

/// Says how long there is until a time: `4m 12s`, or `0s` once it has come.
pub(super) fn left(time: &Timestamp, now: jiff::Timestamp) -> String {
    let distance = time_of(time).map_or(SignedDuration::ZERO, |time| time.duration_since(now));
    short(distance.max(SignedDuration::ZERO), Detail::Two)
}

/// How many units a duration is told in.
#[derive(Clone, Copy)]
enum Detail {
    One,
    Two,
}

fn short(duration: SignedDuration, detail: Detail) -> String {
    let units = match duration.as_secs() {
        86_400.. => [Unit::Day, Unit::Hour],
        3_600.. => [Unit::Hour, Unit::Minute],
        60.. => [Unit::Minute, Unit::Second],
        _ => [Unit::Second, Unit::Second],
    };
    let smallest = match detail {
        Detail::One => units[0],
        Detail::Two => units[1],
    };
    let rounding = SpanRound::new().largest(units[0]).smallest(smallest).mode(jiff::RoundMode::Trunc);
    let span = Span::try_from(duration).and_then(|span| span.round(rounding.days_are_24_hours()));
    span.map_or_else(|_| format!("{duration:#}"), |span| format!("{span:#}"))
}

fn time_of(time: &Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.seconds, time.nanos).ok()
}

fn escape_with(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { safe.push_str(&escape(c)) } else { safe.push(c) }
    }
    safe
}

fn is_unsafe(c: char) -> bool {
    // Control characters of both sets, then line separators and what sets the direction of text.
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_deceive_a_reader_is_escaped() {
        assert_eq!(escape("release-42/prod: größer 你好 🚀"), "release-42/prod: größer 你好 🚀");
        assert_eq!(escape("a\u{1b}[31mred\n\r\t\0\u{7f}"), "a\\u{1b}[31mred\\n\\r\\t\\u{0}\\u{7f}");
        assert_eq!(escape("\u{85}\u{9b}"), "\\u{85}\\u{9b}");
        for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2028}\u{2029}\u{2066}\u{2067}\u{2068}\u{2069}"
            .chars()
        {
            assert_eq!(escape(&c.to_string()), format!("\\u{{{:x}}}", u32::from(c)));
        }
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = serde_json::json!({ "reason": "a\u{1b}\u{9b}\u{202e}\n\u{7f}ü" });
        let escaped = escape_json(&value.to_string());
        assert_eq!(escaped, r#"{"reason":"a\u001b\u009b\u202e\n\u007fü"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn durations_are_told_as_they_are_written() {
        for (seconds, nanos, said) in [(300, 0, "5m"), (5_400, 0, "1h 30m"), (2, 500_000_000, "2s 500ms")] {
            assert_eq!(duration(&proto::Duration { seconds, nanos }), said);
        }
    }

    #[test]
    fn times_are_told_by_their_distance() {
        let now = jiff::Timestamp::from_second(1_767_366_245).unwrap();
        let after = |seconds: i64| Timestamp { seconds: now.as_second() + seconds, nanos: 0 };
        for (seconds, said) in [
            (252, "in 4m 12s"),
            (5, "in 5s"),
            (3_600, "in 1h"),
            (100_000, "in 1d 3h"),
            (0, "now"),
            (-3, "3s ago"),
            (-190, "3m ago"),
            (-7_300, "2h ago"),
            (-200_000, "2d ago"),
        ] {
            assert_eq!(relative(&after(seconds), now), said);
        }
        assert_eq!((left(&after(252), now), left(&after(-5), now)), ("4m 12s".into(), "0s".into()));
        assert_eq!(exact(&after(0)), "2026-01-02 15:04:05Z");
        assert_eq!(exact(&Timestamp { seconds: i64::MAX, nanos: 0 }), "at an unknown time");
    }
}
