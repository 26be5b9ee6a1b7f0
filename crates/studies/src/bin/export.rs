//! Writes ONNX files of a space: its smallest network and random ones, at several resolutions.
//!
//! ```text
//! cargo run --release -p blocklens-studies --bin export -- <folder> [networks per width and resolution]
//! ```

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use blocklens_core::network::{Weights, onnx};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("which folder?")?);
    let count: u64 = args.next().map_or(Ok(2), |n| n.parse())?;
    fs::create_dir_all(&folder)?;
    for width in [1.0, 1.2] {
        let space = DesignSpace::builtin("ofa-mbv3", Some(width))?;
        for resolution in [128, 132, 160, 224] {
            let mut archs = vec![space.smallest(resolution)?];
            for i in 0..count {
                archs.push(space.sample(resolution, &mut Seed(7).index(i).rng())?);
            }
            for (i, arch) in archs.iter().enumerate() {
                let network = space.network(arch);
                let weights = Weights::random(&network, Seed(7));
                let file = folder.join(format!("w{width:.1}-r{resolution}-{i}.onnx"));
                fs::write(&file, onnx::export(&network, &weights, &space.print(arch))?)?;
                println!("{}", file.display());
            }
        }
    }
    Ok(())
}
