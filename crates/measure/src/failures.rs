//! When too many architectures fail, or because of what they are, the rest say nothing of the space.

use blocklens_core::measurement::Warning;
use blocklens_core::profile::failing_with;
use blocklens_core::space::{Architecture, DesignSpace};

/// A share of failures above this is refused whatever they go with.
const MOST: f64 = 0.5;
/// A share above this is refused where failures go with the architecture: what fewer can move figures by is small
/// beside what they measure.
const NOT_FEW: f64 = 0.1;

/// A profile that would be about the architectures that work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "no profile of {metric}: {failed} of {of} architectures have no value{with}. One of the others would not be \
     about the space. What failed is recorded{}: mend it and try again (--retry-failed), reduce the space to \
     what works, or profile what works all the same (--allow-failures)",
    after_colon(example)
)]
pub struct FailuresError {
    /// The metric's name.
    pub metric: String,
    /// How many failed.
    pub failed: usize,
    /// Out of how many.
    pub of: usize,
    /// What failures go with, as the end of a sentence; empty where that is not sure.
    pub with: String,
    /// One of the failures.
    pub example: String,
}

fn after_colon(example: &str) -> String {
    match example {
        "" => String::new(),
        example => format!(" (for example {example})"),
    }
}

/// What failed and what did not, of one metric.
pub(crate) struct Failures<'a> {
    pub(crate) metric: &'a str,
    pub(crate) space: &'a DesignSpace,
    pub(crate) failed: Vec<&'a Architecture>,
    pub(crate) worked: Vec<&'a Architecture>,
    /// One of the failures, for messages.
    pub(crate) example: String,
}

impl Failures<'_> {
    /// A doubt where failures go with the architecture.
    ///
    /// # Errors
    /// [`FailuresError`] where a profile of the rest would not be about the space, unless that is `allowed`.
    pub(crate) fn check(self, allowed: bool) -> Result<Option<Warning>, FailuresError> {
        let failed = self.failed.len();
        let of = failed + self.worked.len();
        if failed == 0 {
            return Ok(None);
        }
        let with = failing_with(self.space, &self.failed, &self.worked);
        let share = failed as f64 / of as f64;
        if !allowed && (share > MOST || (share > NOT_FEW && with.is_some())) {
            return Err(FailuresError {
                metric: self.metric.to_owned(),
                failed,
                of,
                with: with.map_or_else(String::new, |with| format!(", and {with}")),
                example: self.example,
            });
        }
        let metric = self.metric.to_owned();
        Ok(with.map(|with| Warning::FailuresDepend {
            metric,
            failed,
            of,
            with,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blocklens_core::profile::{Estimator, Pooled};
    use blocklens_core::seed::Seed;

    /// What is said where architectures fail that `fails` says, given their number and their layers.
    fn told(
        fails: &dyn Fn(usize, usize) -> bool,
        allowed: bool,
    ) -> Result<Option<Warning>, FailuresError> {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let draw = |index| Pooled.draw(&space, 128, Seed(3), index).unwrap().arch;
        let all: Vec<Architecture> = (0..300).map(draw).collect();
        let group = |failed: bool| {
            let of = all.iter().enumerate();
            let of = of.filter(|(i, arch)| fails(*i, arch.active().count()) == failed);
            of.map(|(_, arch)| arch).collect()
        };
        let failures = Failures {
            metric: "energy",
            space: &space,
            failed: group(true),
            worked: group(false),
            example: "too large".into(),
        };
        failures.check(allowed)
    }

    #[test]
    fn what_failures_leave_is_refused_doubted_or_used() {
        assert_eq!(told(&|_, _| false, false), Ok(None));
        // By chance: used up to a half.
        assert_eq!(told(&|i, _| i % 3 == 0, false), Ok(None));
        let most = told(&|i, _| i % 3 > 0, false).unwrap_err();
        assert_eq!((most.failed, most.of, &*most.with), (200, 300, ""));
        // Because they are large: a doubt up to a tenth.
        let few = told(&|_, layers| layers > 17, false).unwrap();
        assert!(
            matches!(few, Some(Warning::FailuresDepend { .. })),
            "{few:?}"
        );
        let many = |_: usize, layers: usize| layers > 15;
        let error = told(&many, false).unwrap_err().to_string();
        for part in [
            "failures go with",
            "too large",
            "--retry-failed",
            "--allow-failures",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(matches!(told(&many, true), Ok(Some(_))));
    }
}
