//! An engine that this program was built without.

use super::{
    Artefact, Availability, Engine, EngineError, EngineOptions, Executor, LoadOptions, Session,
};

/// Stands in for the engine of this name, and says how to get it.
pub(super) struct Missing(pub(super) &'static str);

impl Missing {
    fn reason(&self) -> String {
        format!("built without the feature `{}`", self.0)
    }

    fn remedy(&self) -> String {
        format!("build blocklens with `--features {}`", self.0)
    }

    fn error(&self) -> EngineError {
        EngineError::Unavailable {
            engine: self.0.into(),
            reason: self.reason(),
            remedy: self.remedy(),
        }
    }
}

impl Engine for Missing {
    fn name(&self) -> &str {
        self.0
    }

    fn availability(&self) -> Availability {
        Availability::Unavailable {
            reason: self.reason(),
            remedy: self.remedy(),
        }
    }

    fn prepare(
        &self,
        _artefact: &Artefact<'_>,
        _options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        Err(self.error())
    }

    fn load(&self, _: &[u8], _: &LoadOptions) -> Result<Box<dyn Executor>, EngineError> {
        Err(self.error())
    }
}
