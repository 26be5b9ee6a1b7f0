//! A device that exists only as a formula: its true effects are known, so it tests the statistics.

use crate::metric::{Direction, Metric, MetricError, MetricInfo, Origin as MetricOrigin};
use crate::network::{Network, Node, Op, Origin};
use crate::space::{Architecture, DesignSpace, Placement};

/// A roofline device: every operator takes a fixed start-up time plus the larger of its computing
/// time and its memory time. It likes 5x5 depthwise kernels and dislikes 7x7, which a profile should find.
///
/// Without interaction the latency of a network is the sum over its operators. With an interaction, a
/// layer costs more when it and the layer before it in its unit hold the same block, so that
/// additive models are wrong by a known amount.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SimulatedDevice {
    /// Extra cost of a layer whose block equals that of the layer before it, relative to its own cost.
    pub interaction: f64,
    /// Extra cost of a depthwise convolution of 7x7 or larger, relative to its own cost: devices that have fast code
    /// for small kernels alone are like this.
    pub large_kernels: f64,
}

/// Where kernels begin to be large.
const LARGE_KERNEL: u32 = 7;
/// Start-up time of an operator, in microseconds.
const START_UP_US: f64 = 4.0;
/// Memory bandwidth, in bytes per microsecond (8 GB/s).
const BANDWIDTH: f64 = 8_000.0;
/// MACs per microsecond of convolutions and linear layers that mix channels.
const DENSE_RATE: f64 = 24_000.0;

/// MACs per microsecond of a depthwise convolution.
fn depthwise_rate(kernel: u32) -> f64 {
    match kernel {
        0..=4 => 5_000.0,
        5 | 6 => 9_000.0,
        _ => 4_000.0,
    }
}

impl SimulatedDevice {
    /// Latency of a network in ms, without noise.
    #[must_use]
    pub fn latency_ms(&self, network: &Network) -> f64 {
        let mut total = 0.0;
        let mut layers: Vec<(Placement, u8, f64)> = Vec::new();
        for node in network.nodes() {
            let us = node_us(network, node) * self.factor(node);
            total += us;
            if let Origin::Choice(placement, block) = node.origin {
                match layers.last_mut() {
                    Some(last) if last.0 == placement => last.2 += us,
                    _ => layers.push((placement, block, us)),
                }
            }
        }
        let extra: f64 = layers
            .windows(2)
            .filter(|pair| pair[0].0.unit == pair[1].0.unit && pair[0].1 == pair[1].1)
            .map(|pair| self.interaction * pair[1].2)
            .sum();
        (total + extra) / 1e3
    }

    /// How many times as long an operator takes as on other devices.
    fn factor(&self, node: &Node) -> f64 {
        match node.op {
            Op::Conv(c) if c.groups > 1 && c.kernel >= LARGE_KERNEL => 1.0 + self.large_kernels,
            _ => 1.0,
        }
    }
}

fn node_us(network: &Network, node: &Node) -> f64 {
    let rate = match node.op {
        Op::Conv(c) if c.groups > 1 => depthwise_rate(c.kernel),
        _ => DENSE_RATE,
    };
    let computing = node.macs().as_f64() / rate;
    let moving = node.traffic(network).as_f64() / BANDWIDTH;
    START_UP_US + computing.max(moving)
}

/// The noise-free latency of a [`SimulatedDevice`] as a metric.
#[derive(Debug)]
pub struct SimulatedLatency {
    space: DesignSpace,
    device: SimulatedDevice,
    info: MetricInfo,
}

impl SimulatedLatency {
    /// Latency of architectures of `space` on `device`.
    #[must_use]
    pub fn new(space: DesignSpace, device: SimulatedDevice) -> Self {
        let info = MetricInfo {
            name: "latency".into(),
            unit: "ms".into(),
            direction: Direction::LowerIsBetter,
            origin: MetricOrigin::Simulated,
            about: "Noise-free latency of a simulated device: a formula, not a measurement.".into(),
        };
        Self {
            space,
            device,
            info,
        }
    }
}

impl Metric for SimulatedLatency {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        Ok(self.device.latency_ms(&self.space.network(arch)))
    }
}
