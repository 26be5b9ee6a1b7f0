//! `net.config` files: any text is an error in every space, or a subnet that is written back.
#![no_main]

use std::sync::LazyLock;

use blocklens_core::ofa::NetConfig;
use blocklens_core::space::DesignSpace;
use libfuzzer_sys::fuzz_target;

static SPACES: LazyLock<Vec<DesignSpace>> = LazyLock::new(|| {
    let spaces = DesignSpace::builtin_names().map(|name| DesignSpace::builtin(name, None));
    spaces.collect::<Result<_, _>>().expect("the built-in spaces")
});

fuzz_target!(|text: &str| {
    let Ok(config) = serde_json::from_str::<NetConfig>(text) else {
        return;
    };
    for space in SPACES.iter() {
        if let Ok(arch) = space.from_net_config(&config, 224) {
            let ours = space.to_net_config(&arch).expect("a subnet of the space");
            assert_eq!(space.from_net_config(&ours, 224), Ok(arch));
        }
    }
});
