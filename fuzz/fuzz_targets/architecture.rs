//! Architectures as text and as dictionaries: any text is an error in every space, or prints back.
#![no_main]

use std::sync::LazyLock;

use blocklens_core::ofa::OfaDict;
use blocklens_core::space::DesignSpace;
use libfuzzer_sys::fuzz_target;

static SPACES: LazyLock<Vec<DesignSpace>> = LazyLock::new(|| {
    let spaces = DesignSpace::builtin_names().map(|name| DesignSpace::builtin(name, None));
    spaces.collect::<Result<_, _>>().expect("the built-in spaces")
});

fuzz_target!(|text: &str| {
    let dict: Option<OfaDict> = serde_json::from_str(text).ok();
    for space in SPACES.iter() {
        if let Ok(arch) = space.parse(text) {
            assert_eq!(space.parse(&space.print(&arch)), Ok(arch));
        }
        if let Some(arch) = dict.as_ref().and_then(|dict| space.from_ofa(dict).ok()) {
            let again = space.to_ofa(&arch).expect("a space with a supernet");
            assert_eq!(space.from_ofa(&again), Ok(arch));
        }
    }
});
