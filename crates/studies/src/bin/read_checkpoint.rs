//! How long reading checkpoints takes, every tensor decoded to f32.
//!
//! `cargo run --release -p blocklens-studies --bin read_checkpoint -- TIMES
//! FILE...` prints a line of JSON for each file: bytes, tensors, numbers, and the milliseconds of every reading.
//! `tools/compare_checkpoint.py` runs it beside `torch.load`.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use blocklens_core::checkpoint::Checkpoint;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let times: Option<usize> = arguments.next().and_then(|times| times.parse().ok());
    let (Some(times), files) = (times, arguments.collect::<Vec<_>>()) else {
        eprintln!("usage: read_checkpoint TIMES FILE...");
        return ExitCode::from(2);
    };
    for file in files {
        match time(times, &file) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Reads the file's bytes once and the checkpoint in them `times` times.
fn time(times: usize, file: &str) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(file)?;
    let (mut ms, mut tensors, mut numbers) = (Vec::new(), 0, 0);
    for _ in 0..times {
        let began = Instant::now();
        let checkpoint = black_box(Checkpoint::read(file, black_box(&bytes))?);
        ms.push(began.elapsed().as_secs_f64() * 1e3);
        tensors = checkpoint.len();
        let of_all = checkpoint.keys().filter_map(|key| checkpoint.get(key));
        numbers = of_all.map(|tensor| tensor.values().len()).sum();
    }
    Ok(serde_json::json!({
        "file": file, "bytes": bytes.len(), "tensors": tensors, "numbers": numbers, "ms": ms,
    }))
}
