//! What came out: figures with their units, and histograms, for people and for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tokio::task::JoinError;

use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// The longest latency that is told from longer ones: a call that takes longer has failed long before.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// Digits of a latency that are kept: one part in a thousand is finer than two runs agree.
const LATENCY_DIGITS: u8 = 3;
/// What is told of each distribution.
const PERCENTILES: [(&str, f64); 5] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99_9", 99.9), ("max", 100.0)];
/// Where the bars of a histogram start; faster than this is the first bar's.
const BARS_FROM: Duration = Duration::from_micros(16);
/// How much longer each bar's latencies are than those of the bar above it.
const BARS_STEP: f64 = 2.0;
/// Characters of the longest bar: with what stands beside it, a line stays below 80.
const BAR_WIDTH: u64 = 48;

/// How long calls took.
#[derive(Clone)]
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    #[allow(clippy::expect_used, reason = "the bounds are constants, which every run checks")]
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, nanoseconds(LATENCY_MAX), LATENCY_DIGITS).expect("the bounds are in order"))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(nanoseconds(latency));
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.0 += &more.0;
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many there are, to divide by.
    pub(super) fn count_f64(&self) -> f64 {
        f64::from(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    fn at(&self, percentile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percentile))
    }

    fn bars(&self) -> Vec<String> {
        let bars: Vec<_> = self.0.iter_log(nanoseconds(BARS_FROM), BARS_STEP).collect();
        let count = |bar: &hdrhistogram::iterators::IterationValue<u64>| bar.count_since_last_iteration();
        let most = bars.iter().map(count).max().unwrap_or_default().max(1);
        let shown = bars.iter().skip_while(|bar| count(bar) == 0);
        let line = |bar| {
            let count = count(bar);
            // What happened at all is seen.
            let width = usize::try_from((count * BAR_WIDTH).div_ceil(most)).unwrap_or_default();
            let until = time(Duration::from_nanos(bar.value_iterated_to() + 1));
            format!("  to {until:>8}  {} {}", "█".repeat(width), HumanCount(count))
        };
        shown.map(line).collect()
    }
}

/// One thing that was measured or asked for.
#[derive(Clone, Copy)]
pub(super) enum Figure {
    /// So many of something.
    Count(u64, &'static str),
    /// So many a second.
    PerSecond(f64),
    /// One number divided by another.
    Ratio(f64),
    /// So long.
    Time(Duration),
    /// So much memory.
    Bytes(u64),
}

impl Figure {
    fn show(self) -> String {
        match self {
            Self::Count(count, unit) => format!("{} {unit}", HumanCount(count)),
            Self::PerSecond(rate) => format!("{rate:.0} /s"),
            Self::Ratio(ratio) => format!("{ratio:.2}"),
            Self::Time(duration) => time(duration),
            Self::Bytes(bytes) => BinaryBytes(bytes).to_string(),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Count(count, unit) => json!({ "value": count, "unit": unit }),
            Self::PerSecond(rate) => json!({ "value": rate, "unit": "1/s" }),
            Self::Ratio(ratio) => json!({ "value": ratio, "unit": "1" }),
            Self::Time(duration) => json!({ "value": duration.as_secs_f64() * 1e6, "unit": "us" }),
            Self::Bytes(bytes) => json!({ "value": bytes, "unit": "B" }),
        }
    }
}

/// All that a run has to say.
pub(super) struct Report {
    verb: &'static str,
    coordinator: String,
    figures: Vec<(String, Figure)>,
    charts: Vec<(String, Latency)>,
}

impl Report {
    pub(super) fn new(verb: &'static str, coordinator: String) -> Self {
        Self { verb, coordinator, figures: Vec::new(), charts: Vec::new() }
    }

    /// Adds a figure.
    pub(super) fn figure(&mut self, name: &str, figure: Figure) {
        self.figures.push((name.to_owned(), figure));
    }

    /// Adds the percentiles of a distribution.
    pub(super) fn latency(&mut self, name: &str, latency: &Latency) {
        for (percentile, at) in PERCENTILES {
            self.figure(&format!("{name}_{percentile}"), Figure::Time(latency.at(at)));
        }
    }

    /// Adds the percentiles of a distribution, and its histogram.
    pub(super) fn chart(&mut self, name: &str, latency: Latency) {
        self.latency(name, &latency);
        self.charts.push((name.to_owned(), latency));
    }

    /// Writes it all as text, or as one JSON object.
    pub(super) fn show(&self, output: Output) -> String {
        match output {
            Output::Text => self.text(),
            Output::Json => self.json().to_string(),
        }
    }

    fn text(&self) -> String {
        let width = self.figures.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut lines = vec![format!("bench {}, {} coordinator", self.verb, self.coordinator)];
        let line = |(name, figure): &(String, Figure)| format!("  {:<width$}  {}", words(name), figure.show());
        lines.extend(self.figures.iter().map(line));
        for (name, latency) in &self.charts {
            lines.push(format!("\n{}, {}:", words(name), HumanCount(latency.count())));
            lines.extend(latency.bars());
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let figures: Map<_, _> = self.figures.iter().map(|(name, figure)| (name.clone(), figure.json())).collect();
        json!({ "bench": self.verb, "coordinator": self.coordinator, "figures": figures })
    }
}

/// Shows on a terminal how far something has come; takes it away when dropped.
#[derive(Clone)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(what: &str, count: u64) -> Self {
        let bar = ProgressBar::new(count).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg}: {human_pos} of {human_len}, {eta} left") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows nothing.
    pub(super) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    pub(super) fn add(&self, count: u64) {
        self.0.inc(count);
    }
}

/// Takes the result of a task, which fails only by a panic of its own.
pub(super) fn ended<T>(task: Result<T, JoinError>) -> Result<T, Failure> {
    task.map_err(|error| Failure::Here(format!("the measurement broke off: {error}")))
}

fn words(name: &str) -> String {
    name.replace("p99_9", "p99.9").replace('_', " ")
}

/// Says how long, in three digits.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        ..1e-3 => (seconds * 1e6, "µs"),
        1e-3..1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let decimals = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(millis: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::new();
        millis.into_iter().for_each(|millis| latency.record(Duration::from_millis(millis)));
        latency
    }

    #[test]
    fn times_have_three_digits_and_their_unit() {
        for (nanos, said) in [
            (1_500, "1.50 µs"),
            (17_040, "17.0 µs"),
            (999_000, "999 µs"),
            (1_230_000, "1.23 ms"),
            (2_340_000_000, "2.34 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanos)), said);
        }
    }

    #[test]
    fn a_report_is_one_object_with_a_unit_for_each_figure() {
        let mut report = Report::new("decide", "temporary".to_owned());
        report.figure("concurrency", Figure::Count(64, "callers"));
        report.figure("ratio", Figure::Ratio(0.5));
        report.chart("latency", latency(1..=1000));
        let json = report.json();
        assert_eq!(json["figures"]["concurrency"], json!({ "value": 64, "unit": "callers" }));
        assert_eq!(json["figures"]["ratio"], json!({ "value": 0.5, "unit": "1" }));
        let median = json["figures"]["latency_p50"]["value"].as_f64().unwrap();
        assert!((median / 500_000.0 - 1.0).abs() < 0.01, "{median}");
        assert_eq!(json["figures"]["latency_max"]["unit"], "us");
    }

    #[test]
    fn every_call_is_in_the_histogram() {
        let text = latency([1, 1, 1, 1, 40]).bars().join("\n");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(&format!("{} 4", "█".repeat(48))), "{text}");
        assert!(lines.last().unwrap().ends_with(" ████████████ 1"), "{text}");
    }

    #[test]
    fn a_latency_beyond_the_longest_counts_as_that() {
        assert_eq!(latency([10_000_000]).at(100.0).as_secs() / 10, 60);
    }
}
