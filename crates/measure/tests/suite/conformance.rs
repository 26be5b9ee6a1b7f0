//! What every engine must do, whatever and wherever it is.

use std::time::Duration;

use blocklens_core::network::{Network, Weights};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use blocklens_measure::engine::{self, Artefact, Engine, EngineError, EngineOptions, Session};

/// Checks an engine that computes and is available here.
pub fn keeps_the_contract(engine: &dyn Engine) {
    outputs_are_finite_and_times_positive(engine);
    the_seed_decides_the_output(engine);
    wrong_inputs_and_thread_counts_are_refused(engine);
    several_sessions_live_side_by_side(engine);
}

fn space(width: f64) -> DesignSpace {
    DesignSpace::builtin("ofa-mbv3", Some(width)).unwrap()
}

pub fn subnet(width: f64, resolution: u32, seed: u64) -> (Network, Weights) {
    let space = space(width);
    let arch = space.sample(resolution, &mut Seed(seed).rng()).unwrap();
    let network = space.network(&arch);
    let weights = Weights::random(&network, Seed(seed));
    (network, weights)
}

pub fn prepare(
    engine: &dyn Engine,
    (network, weights): &(Network, Weights),
    options: &EngineOptions,
) -> Result<Box<dyn Session>, EngineError> {
    engine.prepare(&Artefact::Network { network, weights }, options)
}

fn outputs_are_finite_and_times_positive(engine: &dyn Engine) {
    let model = subnet(1.0, 128, 1);
    let mut session = prepare(engine, &model, &EngineOptions::new(Seed(5))).unwrap();
    assert!(session.output().is_empty());
    for _ in 0..3 {
        let timing = session.run().unwrap();
        assert!(timing.wall > Duration::ZERO);
        if cfg!(target_os = "linux") {
            assert!(timing.cpu.unwrap() > Duration::ZERO);
            assert!(timing.preemptions.is_some());
        }
    }
    assert_eq!(session.output().len() as u64, model.0.output().elements());
    assert!(engine::all_finite(session.output()));
    let first = session.output()[0];
    assert!(session.output().iter().any(|&x| x != first));
}

fn the_seed_decides_the_output(engine: &dyn Engine) {
    let model = subnet(1.0, 132, 2);
    let run = |seed| {
        let mut session = prepare(engine, &model, &EngineOptions::new(seed)).unwrap();
        session.run().unwrap();
        let output = session.output().to_vec();
        assert_eq!(
            session.infer(&engine::input(&model.0, seed)).unwrap(),
            output
        );
        session.run().unwrap();
        assert_eq!(session.output(), output);
        output
    };
    assert_eq!(run(Seed(1)), run(Seed(1)));
    assert_ne!(run(Seed(1)), run(Seed(2)));
}

fn wrong_inputs_and_thread_counts_are_refused(engine: &dyn Engine) {
    let model = subnet(1.0, 128, 3);
    let options = EngineOptions::new(Seed(1));
    let mut session = prepare(engine, &model, &options).unwrap();
    let error = session.infer(&[0.0; 7]).unwrap_err();
    assert!(
        matches!(error, EngineError::InputLength { found: 7, .. }),
        "{error}"
    );
    let threads = |threads| prepare(engine, &model, &EngineOptions { threads, ..options });
    let error = threads(0).unwrap_err();
    assert!(
        matches!(error, EngineError::Threads { asked: 0, .. }),
        "{error}"
    );
    match threads(2) {
        Ok(mut session) => assert!(session.run().is_ok()),
        Err(error) => assert!(
            matches!(error, EngineError::Threads { asked: 2, .. }),
            "{error}"
        ),
    }
}

fn several_sessions_live_side_by_side(engine: &dyn Engine) {
    let options = EngineOptions::new(Seed(4));
    let models = [subnet(1.0, 128, 4), subnet(1.2, 160, 5)];
    let mut sessions = models
        .each_ref()
        .map(|model| prepare(engine, model, &options).unwrap());
    for session in &mut sessions {
        session.run().unwrap();
    }
    let [first, second] = sessions.each_ref().map(|session| session.output().to_vec());
    assert_ne!(first, second);
}
