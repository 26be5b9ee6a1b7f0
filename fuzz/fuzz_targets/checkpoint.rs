//! Checkpoints: any bytes are an error, or tensors whose numbers fit their shapes.
#![no_main]

use blocklens_core::checkpoint::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(checkpoint) = Checkpoint::read("fuzz.pth", bytes) else {
        return;
    };
    for key in checkpoint.keys() {
        let tensor = checkpoint.get(key).expect("a key of the checkpoint");
        let numbers: usize = tensor.shape().iter().product();
        assert_eq!(numbers, tensor.values().len());
    }
});
