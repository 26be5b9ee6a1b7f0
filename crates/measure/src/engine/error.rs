//! Why an engine does not do what it is asked to, or is none.

use blocklens_core::measurement::Failure;
use blocklens_core::model::ModelFormat;

use super::{NAMES, device, mock};

/// Why an engine did not do what was asked. Every variant names the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot be used here.
    #[error("`{engine}` is not available: {reason}; {remedy}")]
    Unavailable {
        /// The engine's name.
        engine: String,
        /// Why not.
        reason: String,
        /// What would change that.
        remedy: String,
    },
    /// The engine does not compute with so many threads.
    #[error("`{engine}` cannot compute with {asked} threads; {remedy}")]
    Threads {
        /// The engine's name.
        engine: String,
        /// The number asked for.
        asked: usize,
        /// What to ask for instead.
        remedy: &'static str,
    },
    /// The machine that blocklens runs on has no room for what the engine is given: no fault of engine or network.
    #[error("`{engine}` cannot be given its network: {message}")]
    Room {
        /// The engine's name.
        engine: String,
        /// What the system said.
        message: String,
    },
    /// The way to the machine that the engine runs on is cut, or was never there: no fault of the network.
    #[error("`{engine}` cannot be reached: {message}; {remedy}")]
    Lost {
        /// The engine's name.
        engine: String,
        /// What is wrong.
        message: String,
        /// What would change that.
        remedy: String,
    },
    /// The engine ran out of memory.
    #[error("`{engine}` ran out of memory: {message}")]
    Memory {
        /// The engine's name.
        engine: String,
        /// What it said.
        message: String,
    },
    /// The engine did not take the network.
    #[error("`{engine}` could not prepare the network: {message}")]
    Prepare {
        /// The engine's name.
        engine: String,
        /// What it said.
        message: String,
    },
    /// The engine takes files of other formats, or none.
    #[error("`{engine}` takes no {format} files: {}", taken(takes))]
    Format {
        /// The engine's name.
        engine: String,
        /// The format of the file.
        format: ModelFormat,
        /// What it takes.
        takes: Vec<ModelFormat>,
    },
    /// The engine runs networks of a design space and no other graphs.
    #[error("`{engine}` computes no graphs but networks of a design space; use `tract` or `ort`")]
    NoGraphs {
        /// The engine's name.
        engine: String,
    },
    /// The inputs given to a graph are not those that it has.
    #[error("`{engine}` was given the inputs [{}]; the graph takes [{}]", found.join(", "), expected.join(", "))]
    Inputs {
        /// The engine's name.
        engine: String,
        /// The names given.
        found: Vec<String>,
        /// The names that the graph has.
        expected: Vec<String>,
    },
    /// An inference failed.
    #[error("`{engine}` could not run the network: {message}")]
    Run {
        /// The engine's name.
        engine: String,
        /// What it said.
        message: String,
    },
    /// The input does not fit the network.
    #[error("the input of `{engine}` has {found} numbers; the network takes {expected}")]
    InputLength {
        /// The engine's name.
        engine: String,
        /// Numbers given.
        found: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// The engine gave an output that does not fit the network.
    #[error("the output of `{engine}` has {found} numbers; the network gives {expected}")]
    OutputLength {
        /// The engine's name.
        engine: String,
        /// Numbers given.
        found: usize,
        /// Numbers expected.
        expected: usize,
    },
}

fn taken(formats: &[ModelFormat]) -> String {
    match formats {
        [] => "it is for networks of a design space only".into(),
        formats => {
            let names: Vec<String> = formats.iter().map(ToString::to_string).collect();
            format!("it takes {}", names.join(", "))
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Room { .. } | EngineError::Lost { .. } => Failure::NotTried { message },
            EngineError::Memory { .. } => Failure::OutOfMemory { message },
            _ => Failure::Engine { message },
        }
    }
}

/// An engine that was asked for in words that mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineSpecError {
    /// No engine has this name.
    #[error(
        "there is no engine `{name}`; the engines are {}, device:COMMAND and {}",
        NAMES.join(", "),
        device::ssh::GRAMMAR
    )]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The engine takes nothing after its name.
    #[error("`{engine}` takes no options, but `{options}` follows it")]
    NoOptions {
        /// The engine's name.
        engine: &'static str,
        /// What followed.
        options: String,
    },
    /// What stands behind an adapter's name is no list of options.
    #[error("`{option}` is no option of `{engine}`: options are KEY=VALUE, separated by commas")]
    NotAnOption {
        /// The engine's name.
        engine: String,
        /// What was found.
        option: String,
    },
    /// What stands behind `device:` is no command.
    #[error("`device:{command}` names no command: {reason}")]
    Command {
        /// What was found.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What stands behind `ssh:` is no engine on a machine.
    #[error(
        "`ssh:{place}` names no engine on another machine: {reason}; it is {}",
        device::ssh::GRAMMAR
    )]
    Host {
        /// What was found.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `mock` does not know this key.
    #[error("`mock` has no option `{key}`; its options are {}", mock::known_keys())]
    MockKey {
        /// The key asked for.
        key: String,
    },
    /// A value of `mock` that is not in its range.
    #[error("`mock` option `{key}` cannot be `{value}`: {expected}")]
    MockValue {
        /// The key.
        key: &'static str,
        /// The value given.
        value: String,
        /// What is expected instead.
        expected: &'static str,
    },
}
