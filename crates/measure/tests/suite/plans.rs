//! A campaign that another version has planned.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use blocklens_core::profile::{Designed, Estimator, Pooled, Sampled};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use blocklens_measure::campaign::{
    Campaign, CampaignError, CampaignSpec, Carrier, Ending, Lane, in_turn,
};
use blocklens_measure::engine::{self, host};
use blocklens_measure::job::{Job, Outcome};
use blocklens_measure::protocol::Protocol;
use blocklens_measure::readout::Readout;
use blocklens_measure::runner::{InProcess, Runner};
use blocklens_measure::store::Store;

const NETWORKS: u64 = 12;

fn spec(space: &DesignSpace, estimator: &str) -> CampaignSpec {
    CampaignSpec {
        space: space.name().into(),
        width: space.width(),
        space_digest: space.digest().into(),
        space_source: space.source().clone(),
        resolution: 224,
        estimator: estimator.into(),
        seed: 1,
        engine: "mock".into(),
        engine_version: "1".into(),
        threads: 1,
        cpu: "none".into(),
        host: None,
        kind: None,
        statistic: "median".into(),
        protocol: Protocol::default(),
        memory_limit_mib: None,
    }
}

/// Measures a campaign of `name` whose plan is drawn by `plan`, up to a budget.
fn measure(
    store: &Store,
    space: &DesignSpace,
    (name, plan): (&str, &dyn Estimator),
    budget: u64,
) -> Result<Ending, CampaignError> {
    let campaign = Campaign::open(store, space, plan, spec(space, name), false)?;
    let engine = engine::by_name("mock").unwrap();
    let device = host::describe(engine.as_ref(), &engine::probe("mock").unwrap(), 1);
    let run = store.begin_run(campaign.stored.id, &device, &[])?;
    let (runner, interrupted) = (InProcess, AtomicBool::new(false));
    let carrier = Carrier {
        store,
        campaign: campaign.stored.id,
        run,
        retry_failed: false,
        runner: &runner,
        interrupted: &interrupted,
    };
    carrier.measure(&campaign, Campaign::steps(budget), &mut |_| {})
}

/// What was measured stays with the network that was measured, and the campaign goes on with the plan of today.
#[test]
fn networks_of_another_plan_keep_their_measurements() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db")).unwrap();
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let (designed, name) = (Designed::default(), "designed");
    measure(&store, &space, (name, &Pooled), NETWORKS).unwrap();
    let ending = measure(&store, &space, (name, &designed), 2 * NETWORKS).unwrap();
    assert_eq!(ending, Ending::Complete);
    let campaign = store.campaign(None).unwrap().unwrap();
    let spec = spec(&space, name);
    let readout = Readout::read(&store, campaign.id, &spec, &space, &designed).unwrap();
    let draw = |plan: &dyn Estimator, index| plan.draw(&space, 224, Seed(1), index).unwrap().arch;
    let before = (0..NETWORKS).map(|index| draw(&Pooled, index));
    let since = (NETWORKS..2 * NETWORKS).map(|index| draw(&designed, index));
    let measured = readout.observations().into_iter().map(|o| o.draw.arch);
    assert!(measured.eq(before.chain(since)));
}

/// A network that was drawn for one block is no sample of another's.
#[test]
fn networks_drawn_for_their_place_are_refused_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db")).unwrap();
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let name = "sampled";
    measure(&store, &space, (name, &Pooled), NETWORKS).unwrap();
    let refused = measure(&store, &space, (name, &Sampled), NETWORKS);
    assert!(matches!(refused, Err(CampaignError::PlanChanged { .. })));
    let campaign = store.campaign(None).unwrap().unwrap();
    let read = Readout::read(&store, campaign.id, &spec(&space, name), &space, &Sampled);
    assert!(matches!(read, Err(CampaignError::PlanChanged { .. })));
}

/// What an earlier version wrote has fewer fields; what a later one writes may have more.
#[test]
fn campaigns_are_told_apart_field_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db")).unwrap();
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let spec = spec(&space, "designed");
    let text = serde_json::to_string_pretty(&spec).unwrap();
    let earlier = store.create_campaign(&text).unwrap();
    assert_eq!(store.find_campaign(&spec).unwrap(), Some(earlier.clone()));
    let later = text.replacen('{', "{ \"batch\": 8,", 1);
    store.create_campaign(&later).unwrap();
    assert_eq!(store.find_campaign(&spec).unwrap(), Some(earlier));
    let other = CampaignSpec { seed: 2, ..spec };
    assert_eq!(store.find_campaign(&other).unwrap(), None);
}

/// Two machines of one kind behind one name are two campaigns; what was stored before machines had names stays one.
#[test]
fn a_campaign_is_of_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db")).unwrap();
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let open = |host: Option<&str>| {
        let spec = CampaignSpec {
            host: host.map(str::to_owned),
            ..spec(&space, "pooled")
        };
        let campaign = Campaign::open(&store, &space, &Pooled, spec, false);
        campaign.unwrap().stored.id
    };
    let (here, kitchen, attic) = (open(None), open(Some("kitchen")), open(Some("attic")));
    assert!(here != kitchen && kitchen != attic && here != attic);
    assert_eq!(open(Some("kitchen")), kitchen);
    let text = spec(&space, "pooled").text();
    assert!(
        !text.contains("host") && !text.contains("kind"),
        "as before: {text}"
    );
    assert_eq!(
        CampaignSpec::from_text(&text).unwrap(),
        spec(&space, "pooled")
    );
}

/// A runner that notes which engine was asked for which position.
struct Noting(Mutex<Vec<(u64, String)>>);

impl Runner for Noting {
    fn run(&self, job: &Job) -> Option<Outcome> {
        let noted = (job.position, job.engine.clone());
        self.0.lock().unwrap().push(noted);
        InProcess.run(job)
    }
}

/// Position by position, each beginning with another device; a hopeless one drops out, and the others go on.
#[test]
fn devices_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db")).unwrap();
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let engines = ["mock", "mock:error=1", "mock:noise=0.02"];
    let campaigns = engines.map(|engine| {
        let spec = CampaignSpec {
            engine: engine.into(),
            ..spec(&space, "pooled")
        };
        Campaign::open(&store, &space, &Pooled, spec, false).unwrap()
    });
    let (runner, interrupted) = (Noting(Mutex::default()), AtomicBool::new(false));
    let device = host::describe(
        engine::by_name("mock").unwrap().as_ref(),
        &engine::probe("mock").unwrap(),
        1,
    );
    let lanes = campaigns.each_ref().map(|campaign| Lane {
        carrier: Carrier {
            store: &store,
            campaign: campaign.stored.id,
            run: store.begin_run(campaign.stored.id, &device, &[]).unwrap(),
            retry_failed: false,
            runner: &runner,
            interrupted: &interrupted,
        },
        schedule: campaign,
        steps: 10,
    });
    let ends = in_turn(&lanes, &mut |_, _| {}).unwrap();
    assert!(matches!(ends[0], Ok(Ending::Complete)) && matches!(ends[2], Ok(Ending::Complete)));
    assert!(matches!(
        ends[1],
        Err(CampaignError::NothingWorks { count: 8, .. })
    ));
    let turns = runner.0.into_inner().unwrap();
    let at = |position: u64| -> Vec<&str> {
        let here = turns.iter().filter(|(p, _)| *p == position);
        here.map(|(_, engine)| engine.as_str()).collect()
    };
    let [a, b, c] = engines;
    assert_eq!(at(0), [a, b, c]);
    assert_eq!(at(1), [b, c, a]);
    assert_eq!(at(2), [c, a, b]);
    assert_eq!(at(9), [a, c]);
    let positions: Vec<u64> = turns.iter().map(|(p, _)| *p).collect();
    assert!(positions.is_sorted(), "{positions:?}");
}
