//! Why two profiles cannot be compared.

/// Why two profiles cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// They are about different things.
    #[error(
        "the profiles differ in their {what}: {a} and {b}; --common compares the placements and blocks that both have"
    )]
    Differ {
        /// In what.
        what: &'static str,
        /// The first's.
        a: String,
        /// The second's.
        b: String,
    },
    /// One profile has nothing to be compared with.
    #[error("devices are compared with each other: give two reports or more")]
    TooFew,
    /// No metric is in both.
    #[error(
        "the profiles have no metric in common but counted ones: the first has {a}, the second {b}; --metric compares \
         a counted one"
    )]
    NoMetric {
        /// The first's metrics.
        a: String,
        /// The second's.
        b: String,
    },
    /// A metric that was asked for is missing.
    #[error("the {which} profile has no metric `{name}`; it has {known}")]
    UnknownMetric {
        /// The metric.
        name: String,
        /// `first` or `second`.
        which: &'static str,
        /// Those that there are.
        known: String,
    },
    /// One metric in two units.
    #[error("`{metric}` is in {a} in the first profile and in {b} in the second")]
    Unit {
        /// The metric.
        metric: String,
        /// The first's unit.
        a: String,
        /// The second's.
        b: String,
    },
    /// The report does not say how its errors depend on each other.
    #[error(
        "{report} does not hold the joint errors of `{metric}`: it was made by an older version; make it again with \
         `blocklens report`"
    )]
    NoJoint {
        /// The metric.
        metric: String,
        /// The report.
        report: String,
    },
    /// The joint errors do not fit the effects.
    #[error(
        "{report}: the joint errors of `{metric}` are damaged; make the report again with `blocklens report`"
    )]
    Damaged {
        /// The metric.
        metric: String,
        /// The report.
        report: String,
    },
    /// No placement offers two blocks that both profiles know.
    #[error(
        "the profiles have nothing in common: no placement offers two blocks that both know, and no unit two depths"
    )]
    NothingInCommon,
}
