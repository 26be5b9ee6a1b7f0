//! What the name of a quantity says: its unit, which way it improves, and what its values may be.
//!
//! Columns are called `latency`, `latency [ms]`, `latency_ms` or `lat(us)`; people ask for them by any of these, and
//! say behind colons what a name leaves open: `fps:higher`, `cost:EUR:lower`.

use serde::{Deserialize, Serialize};

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Smaller values are better (latency, MACs, memory).
    LowerIsBetter,
    /// Larger values are better (accuracy).
    HigherIsBetter,
}

/// What values of a quantity may be, by its nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Times, energies, sizes, counts and rates: a 0 or less is a run that failed.
    Positive,
    /// Shares of right answers.
    NotNegative,
    /// Whatever is finite: losses, scores, differences.
    Any,
}

impl Nature {
    /// Whether a value can be one of the quantity's.
    #[must_use]
    pub fn allows(self, value: f64) -> bool {
        let possible = match self {
            Self::Positive => value > 0.0,
            Self::NotNegative => value >= 0.0,
            Self::Any => true,
        };
        possible && value.is_finite()
    }

    /// What a value must be.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Positive => "above 0",
            Self::NotNegative => "0 or more",
            Self::Any => "a finite number",
        }
    }

    /// That of a quantity with a unit: the name decides, and where it says nothing, the unit.
    #[must_use]
    pub fn of(name: &str, unit: &str) -> Self {
        let words = words(name);
        let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
        let begins = |known: &[&str]| {
            let known = |word: &String| known.iter().any(|k| word.starts_with(k));
            words.iter().any(known)
        };
        if has(&SIGNED) || begins(&["diff", "norm", "standard"]) {
            Self::Any
        } else if begins(&POSITIVE) || has(&POSITIVE_WORDS) || Unit::of(unit).is_positive() {
            Self::Positive
        } else if begins(&["accuracy", "top1", "top5"]) || has(&["acc"]) {
            Self::NotNegative
        } else {
            Self::Any
        }
    }
}

/// Words that make a quantity one of any sign: a difference, a logarithm, a score.
const SIGNED: [&str; 24] = [
    "delta",
    "change",
    "gap",
    "residual",
    "residuals",
    "log",
    "log2",
    "log10",
    "ln",
    "logit",
    "zscore",
    "z",
    "centred",
    "centered",
    "relative",
    "rel",
    "effect",
    "drop",
    "gain",
    "saving",
    "slack",
    "error",
    "loss",
    "score",
];
/// Beginnings of words for what is positive by nature.
const POSITIVE: [&str; 10] = [
    "latency",
    "energy",
    "memory",
    "params",
    "parameters",
    "macs",
    "flops",
    "runtime",
    "duration",
    "throughput",
];
/// Whole words for the same.
const POSITIVE_WORDS: [&str; 14] = [
    "lat", "time", "delay", "power", "mem", "ram", "mac", "madds", "flop", "param", "size", "fps",
    "cycles", "edp",
];

/// The words of a name, in lower case: `peak`, `memory` and `mib` of `peak_memory[MiB]`.
fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Which way quantities with this name improve: lower is better for names that begin with latency, energy, memory,
/// params, macs, flops, power, runtime, time, error or loss, and higher for those with accuracy, top1, top5 or score.
#[must_use]
pub fn usual_direction(name: &str) -> Option<Direction> {
    const LOWER: [&str; 9] = [
        "latency", "energy", "memory", "params", "macs", "flops", "runtime", "error", "loss",
    ];
    const LOWER_WORDS: [&str; 3] = ["lat", "time", "power"];
    const HIGHER: [&str; 4] = ["accuracy", "top1", "top5", "score"];
    let name = name.trim().to_ascii_lowercase();
    let first = words(&name).into_iter().next().unwrap_or_default();
    let begins = |known: &[&str]| known.iter().any(|word| name.starts_with(word));
    if begins(&LOWER) || LOWER_WORDS.contains(&first.as_str()) {
        Some(Direction::LowerIsBetter)
    } else if begins(&HIGHER) || first == "acc" {
        Some(Direction::HigherIsBetter)
    } else {
        None
    }
}

/// A unit, as values in it are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// What it is called: times are in `ms`, whatever they are written in.
    pub name: String,
    kind: Kind,
    multiply: f64,
    divide: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    /// Energy and power.
    Energy,
    /// Bytes.
    Size,
    Other,
}

impl Unit {
    /// The unit that is written so.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let lower = text.to_lowercase();
        let time = |multiply, divide| Self {
            name: "ms".into(),
            kind: Kind::Time,
            multiply,
            divide,
        };
        let plain = |kind, name: &str| Self {
            name: name.into(),
            kind,
            multiply: 1.0,
            divide: 1.0,
        };
        match lower.as_str() {
            "ns" | "nsec" | "nanosecond" | "nanoseconds" => time(1.0, 1e6),
            "us" | "\u{b5}s" | "\u{3bc}s" | "usec" | "microsecond" | "microseconds" => {
                time(1.0, 1e3)
            }
            "ms" | "msec" | "millisecond" | "milliseconds" => time(1.0, 1.0),
            "s" | "sec" | "secs" | "second" | "seconds" => time(1e3, 1.0),
            "nj" => plain(Kind::Energy, "nJ"),
            "uj" | "\u{b5}j" | "\u{3bc}j" => plain(Kind::Energy, "\u{b5}J"),
            "mj" if text != "MJ" => plain(Kind::Energy, "mJ"),
            "mw" if text != "MW" => plain(Kind::Energy, "mW"),
            "j" | "kj" | "w" | "kw" | "mwh" | "wh" => plain(Kind::Energy, text),
            "kb" | "mb" | "gb" | "kib" | "mib" | "gib" | "bytes" => plain(Kind::Size, text),
            "pct" | "percent" => plain(Kind::Other, "%"),
            _ => plain(Kind::Other, text),
        }
    }

    /// A value that is written in this unit, in the one that it is shown in.
    #[must_use]
    pub fn shown(&self, value: f64) -> f64 {
        value * self.multiply / self.divide
    }

    /// Whether what is counted in it is positive by nature.
    fn is_positive(&self) -> bool {
        self.kind != Kind::Other
    }

    /// Which way what is counted in it improves: less time, energy and memory are better.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        self.is_positive().then_some(Direction::LowerIsBetter)
    }
}

/// Units of one letter behind a name, each with the words that it may follow: `latency_s` is in seconds, `top_s` is a
/// name.
const LETTERS: [(&str, &[&str]); 4] = [
    (
        "s",
        &["latency", "lat", "time", "runtime", "duration", "delay"],
    ),
    ("j", &["energy"]),
    ("w", &["power"]),
    ("m", &["params", "macs", "flops", "parameters"]),
];
/// Units that are none of [`Unit`]'s and stand behind names too.
const COUNTS: [&str; 6] = ["mmacs", "gmacs", "mflops", "gflops", "fps", "hz"];

/// Name and unit of a header: `latency [ms]`, `latency_ms`, `lat(us)`.
#[must_use]
pub fn split_unit(header: &str) -> (&str, Option<&str>) {
    let header = header.trim();
    let both =
        |(name, unit): (&'_ str, &'_ str)| !name.trim().is_empty() && !unit.trim().is_empty();
    let inside = |open: char, close: char| header.strip_suffix(close)?.rsplit_once(open);
    if let Some((name, unit)) = inside('[', ']').filter(|parts| both(*parts)) {
        return (name.trim(), Some(unit.trim()));
    }
    let parts = inside('(', ')').or_else(|| header.rsplit_once(['_', ' ', '-', '/', '.']));
    match parts.filter(|parts| both(*parts)) {
        Some((name, unit)) if stands_behind(name, unit.trim()) => (name.trim(), Some(unit.trim())),
        _ => (header, None),
    }
}

/// Whether a word behind a name is its unit.
fn stands_behind(name: &str, unit: &str) -> bool {
    let lower = unit.to_lowercase();
    if let Some((_, names)) = LETTERS.iter().find(|(letter, _)| *letter == lower) {
        return words(name)
            .iter()
            .any(|word| names.contains(&word.as_str()));
    }
    // "percent" says it, and so does its sign.
    let percent = matches!(lower.as_str(), "%" | "pct" | "percent");
    percent || COUNTS.contains(&lower.as_str()) || Unit::of(unit).is_positive()
}

/// A name as metrics bear it: without its unit, and in full where people shorten it.
#[must_use]
pub fn canonical(name: &str) -> String {
    let name = split_unit(name).0;
    match name.to_ascii_lowercase().as_str() {
        "lat" | "latency" => "latency".into(),
        "acc" | "accuracy" => "accuracy".into(),
        _ => name.to_owned(),
    }
}

/// A quantity as somebody asks for it: `latency`, `latency_ms`, `latency:us`, `fps:higher`, `cost:EUR:lower`.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked<'a> {
    /// The column, as typed.
    pub column: &'a str,
    /// The unit behind it.
    pub unit: Option<&'a str>,
    /// Which way it improves, where that is said.
    pub direction: Option<Direction>,
}

impl<'a> Asked<'a> {
    /// Takes apart what was typed.
    #[must_use]
    pub fn read(typed: &'a str) -> Self {
        let (rest, direction) = match typed.rsplit_once(':') {
            Some((rest, "higher")) => (rest, Some(Direction::HigherIsBetter)),
            Some((rest, "lower")) => (rest, Some(Direction::LowerIsBetter)),
            _ => (typed, None),
        };
        let (column, unit) = match rest.rsplit_once(':') {
            Some((column, unit)) if !column.is_empty() && !unit.is_empty() => (column, Some(unit)),
            _ => (rest, None),
        };
        Self {
            column: column.trim(),
            unit: unit.map(str::trim),
            direction,
        }
    }

    /// What a metric of it is called.
    #[must_use]
    pub fn called(&self) -> String {
        canonical(self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_name_and_unit() {
        for (header, name, unit) in [
            ("latency [ms]", "latency", Some("ms")),
            ("latency_ms", "latency", Some("ms")),
            ("lat(us)", "lat", Some("us")),
            ("Latency (ms)", "Latency", Some("ms")),
            ("latency ms", "latency", Some("ms")),
            ("mean_latency_us", "mean_latency", Some("us")),
            ("latency_s", "latency", Some("s")),
            ("energy_mJ", "energy", Some("mJ")),
            ("power/W", "power", Some("W")),
            ("params_M", "params", Some("M")),
            ("top1 (%)", "top1", Some("%")),
            ("peak memory [MiB]", "peak memory", Some("MiB")),
            ("my cost [furlongs]", "my cost", Some("furlongs")),
            ("accuracy (clean)", "accuracy (clean)", None),
            ("latency_min", "latency_min", None),
            ("latency_p50", "latency_p50", None),
            ("class_s", "class_s", None),
            ("_ms", "_ms", None),
            ("ms", "ms", None),
            ("[ms]", "[ms]", None),
            ("latency []", "latency []", None),
            ("", "", None),
        ] {
            assert_eq!(split_unit(header), (name, unit), "{header}");
        }
        assert_eq!(canonical("lat(us)"), "latency");
        assert_eq!(canonical("Latency_ms"), "latency");
        assert_eq!(canonical("fps"), "fps");
    }

    #[test]
    fn times_are_shown_in_milliseconds() {
        for (unit, value, shown) in [
            ("us", 21_500.0, 21.5),
            ("\u{b5}s", 3.0, 0.003),
            ("s", 0.25, 250.0),
            ("ns", 5e6, 5.0),
            ("MS", 7.0, 7.0),
        ] {
            let unit = Unit::of(unit);
            assert_eq!((unit.name.as_str(), unit.shown(value)), ("ms", shown));
        }
        assert_eq!(Unit::of("furlongs").shown(2.0), 2.0);
        assert_eq!(Unit::of("MJ").name, "MJ");
        assert_eq!(Unit::of("mj").name, "mJ");
    }

    #[test]
    fn what_is_open_is_said_behind_colons() {
        let asked = |typed| {
            let asked = Asked::read(typed);
            (asked.column, asked.unit, asked.direction)
        };
        let (low, high) = (Direction::LowerIsBetter, Direction::HigherIsBetter);
        assert_eq!(asked("latency"), ("latency", None, None));
        assert_eq!(asked("fps:higher"), ("fps", None, Some(high)));
        assert_eq!(asked("cost:EUR:lower"), ("cost", Some("EUR"), Some(low)));
        assert_eq!(asked("latency:us"), ("latency", Some("us"), None));
        assert_eq!(asked(":higher"), ("", None, Some(high)));
        assert_eq!(asked("a:"), ("a:", None, None));
    }

    #[test]
    fn what_values_may_be_follows_from_the_name_and_the_unit() {
        let cases = [
            (
                Nature::Positive,
                &[
                    "latency",
                    "lat",
                    "energy",
                    "peak_memory",
                    "MACs",
                    "params",
                    "power",
                    "fps",
                    "cpu time",
                ][..],
            ),
            (
                Nature::NotNegative,
                &["accuracy", "top1", "Top5", "acc", "test acc"],
            ),
            (
                Nature::Any,
                &[
                    "loss",
                    "val_loss",
                    "score",
                    "latency_delta",
                    "log latency",
                    "latency error",
                    "cost",
                    "x",
                    "",
                ],
            ),
        ];
        for (nature, names) in cases {
            for name in names {
                assert_eq!(Nature::of(name, ""), nature, "{name}");
            }
        }
        assert_eq!(Nature::of("p50", "ms"), Nature::Positive);
        assert_eq!(Nature::of("p50 change", "ms"), Nature::Any);
        assert_eq!(Nature::of("loss", "nats"), Nature::Any);
        assert!(!Nature::Positive.allows(0.0) && Nature::NotNegative.allows(0.0));
        assert!(Nature::Any.allows(-1.0) && !Nature::Any.allows(f64::NAN));
    }

    #[test]
    fn directions_follow_from_usual_names() {
        let (low, high) = (
            Some(Direction::LowerIsBetter),
            Some(Direction::HigherIsBetter),
        );
        for (name, direction) in [
            ("latency_p90", low),
            (" Latency", low),
            ("lat", low),
            ("time per image", low),
            ("lattice", None),
            ("top1", high),
            ("acc", high),
            ("accent", None),
            ("fps", None),
        ] {
            assert_eq!(usual_direction(name), direction, "{name}");
        }
        assert_eq!(Unit::of("us").direction(), low);
        assert_eq!(Unit::of("%").direction(), None);
    }
}
