//! From an architecture to its scores.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use blocklens_core::measurement::Failure;
use blocklens_core::network::onnx::{
    Batch, GraphFile, GraphOptions, GraphOutput, INPUT, NormName, Norms, export_graph,
};
use blocklens_core::network::{BatchStatistics, Network, UnfoldedWeights, pooled};
use blocklens_core::ofa::Supernet as Slicer;
use blocklens_core::space::Architecture;

use super::set::Set;
use super::{Supernet, Trouble, interrupted};
use crate::engine::{Executor, LoadOptions, Tensor};
use crate::images::normalised;

/// Images that are run together when scores are computed. Logits do not depend on it but for rounding.
const TOGETHER: usize = 4;
/// The class must be among so many.
const TOP: usize = 5;

/// What an architecture scored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Scores {
    /// Images in all.
    pub(super) images: usize,
    /// Those whose class has the largest logit.
    pub(super) top1: usize,
    /// Those whose class is among the five largest.
    pub(super) top5: usize,
    /// Sum of the cross-entropies, in nats.
    pub(super) loss: f64,
}

/// Makes something of the logits of one image, given with its index in the folder.
type Each<'a, T> = dyn Fn(&[f32], usize) -> Result<T, Trouble> + Sync + 'a;

/// Makes something of the outputs of one batch.
type Read<'a, T> = dyn Fn(&GraphFile, &[usize], &[Tensor]) -> Result<T, Trouble> + Sync + 'a;

impl Scores {
    /// The score of one image.
    fn of(logits: &[f32], class: usize) -> Result<Self, Trouble> {
        if !crate::engine::all_finite(logits) {
            return Err(Trouble::Failed(Failure::NotFinite));
        }
        let own = logits[class];
        // Of equal logits the first counts as the largest.
        let above = logits.iter().enumerate();
        let above = above.filter(|(i, logit)| **logit > own || (**logit == own && *i < class));
        let rank = above.count();
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exponentials = logits
            .iter()
            .map(|logit| (f64::from(*logit) - largest).exp());
        Ok(Self {
            images: 1,
            top1: usize::from(rank == 0),
            top5: usize::from(rank < TOP),
            loss: exponentials.sum::<f64>().ln() + largest - f64::from(own),
        })
    }

    fn and(self, other: Self) -> Self {
        Self {
            images: self.images + other.images,
            top1: self.top1 + other.top1,
            top5: self.top5 + other.top5,
            loss: self.loss + other.loss,
        }
    }
}

/// A network as files, by the number of images that each takes.
type Files = BTreeMap<usize, GraphFile>;

impl Supernet {
    pub(super) fn evaluate(&self, arch: &Architecture) -> Result<Scores, Trouble> {
        let (network, weights) = self.weights(arch)?;
        self.score(&network, &weights)
    }

    /// The subnet's weights with its batch-norms folded in, after these were given statistics of its own.
    fn weights(&self, arch: &Architecture) -> Result<(Network, UnfoldedWeights), Trouble> {
        let refused = |reason: &dyn ToString| Trouble::NotApplicable(reason.to_string());
        let resolution = self.space.check_resolution(arch.resolution());
        resolution.map_err(|e| refused(&e))?;
        let sliced = Slicer::new(&self.space, &self.checkpoint);
        let sliced = sliced.and_then(|supernet| supernet.slice_unfolded(arch));
        let (network, mut weights) = sliced.map_err(|e| refused(&e))?;
        if let Some(set) = &self.sets.calibrating {
            self.calibrate(&network, &mut weights, set)?;
        }
        Ok((network, weights.fold().into()))
    }

    /// Replaces the statistics of every batch-norm by those of the set's images. As in training, each batch is
    /// normalised by its own statistics on its way to the next batch-norm.
    fn calibrate(
        &self,
        network: &Network,
        weights: &mut UnfoldedWeights,
        set: &Set,
    ) -> Result<(), Trouble> {
        let calibration = &self.options.calibration;
        let options = |images| GraphOptions {
            batch: Batch::Fixed(images),
            norms: Norms::Batch { shown: true },
            ..GraphOptions::default()
        };
        let together = calibration.batch;
        let shown = self.run(
            network,
            weights,
            set,
            together,
            &options,
            &|file, images, outputs| statistics(file, images.len(), outputs),
        )?;
        for (node, norm) in weights.norms_mut() {
            let batches = shown.iter().map(|batch| batch.get(node).cloned());
            let batches: Option<Vec<BatchStatistics>> = batches.collect();
            let batches =
                batches.ok_or_else(|| Trouble::failed("a batch-norm showed no statistics"))?;
            let (mean, variance) = pooled(&batches, calibration.pooling);
            let finite = mean.iter().chain(&variance).all(|x| x.is_finite());
            if !finite || mean.len() != norm.mean.len() {
                return Err(Trouble::Failed(Failure::NotFinite));
            }
            (norm.mean, norm.variance) = (mean, variance);
        }
        Ok(())
    }

    /// The scores of the images that count.
    fn score(&self, network: &Network, weights: &UnfoldedWeights) -> Result<Scores, Trouble> {
        let set = &self.sets.counting;
        let scores = self.forward(network, weights, &|row, image| {
            Scores::of(row, set.class(image))
        })?;
        Ok(scores.into_iter().fold(Scores::default(), Scores::and))
    }

    /// The logits of every image that counts, under its name.
    pub(super) fn logits_of(
        &self,
        arch: &Architecture,
    ) -> Result<Vec<(String, Vec<f32>)>, Trouble> {
        let (network, weights) = self.weights(arch)?;
        let set = &self.sets.counting;
        self.forward(&network, &weights, &|row, image| {
            Ok((set.name(image).to_owned(), row.to_vec()))
        })
    }

    /// What `each` makes of the logits of every image that counts, given with its index in the folder.
    fn forward<T: Send>(
        &self,
        network: &Network,
        weights: &UnfoldedWeights,
        each: &Each<'_, T>,
    ) -> Result<Vec<T>, Trouble> {
        let options = |images| GraphOptions {
            batch: Batch::Fixed(images),
            norms: Norms::Stored,
            ..GraphOptions::default()
        };
        let set = &self.sets.counting;
        let rows = self.run(
            network,
            weights,
            set,
            TOGETHER,
            &options,
            &|_, images, outputs| {
                let logits = outputs.first().map_or(&[][..], Tensor::data);
                let classes = self.space.classes() as usize;
                if logits.len() != classes * images.len() {
                    return Err(Trouble::failed("the engine's output has another size"));
                }
                let rows = logits.chunks_exact(classes).zip(images);
                let all = rows.map(|(row, image)| each(row, *image));
                all.collect::<Result<Vec<_>, _>>()
            },
        )?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Runs a network on the images of a set, `together` at a time, and returns what `read` makes of the outputs of
    /// each batch, in order.
    fn run<T: Send>(
        &self,
        network: &Network,
        weights: &UnfoldedWeights,
        set: &Set,
        together: usize,
        options: &dyn Fn(u32) -> GraphOptions,
        read: &Read<'_, T>,
    ) -> Result<Vec<T>, Trouble> {
        let shape = network.input();
        let size = shape.height as usize;
        let images = self.usable(set, size)?;
        let batches: Vec<&[usize]> = images.chunks(together).collect();
        let mut files = Files::new();
        for batch in &batches {
            if let Entry::Vacant(free) = files.entry(batch.len()) {
                let images = u32::try_from(batch.len()).unwrap_or(u32::MAX);
                let file = export_graph(network, weights, &options(images), "subnet");
                free.insert(file.map_err(Trouble::failed)?);
            }
        }
        let work = |loaded: &mut BTreeMap<usize, Box<dyn Executor>>, place: usize| {
            let batch = batches[place];
            let file = &files[&batch.len()];
            let executor = match loaded.entry(batch.len()) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(free) => {
                    let executor = self.engine.load(&file.bytes, &LoadOptions { threads: 1 });
                    free.insert(executor.map_err(Trouble::failed)?)
                }
            };
            let mut pixels = Vec::new();
            for image in batch {
                normalised(
                    &set.pixels(*image, size).map_err(Trouble::failed)?,
                    &mut pixels,
                );
            }
            let input = Tensor::new(vec![batch.len(), 3, size, size], pixels);
            let input = input.map_err(Trouble::failed)?;
            let outputs = executor.run(&[(INPUT, &input)]).map_err(Trouble::failed)?;
            read(file, batch, &outputs)
        };
        let stop = &self.options.interrupted;
        let done = self
            .threads
            .run(batches.len(), stop, &BTreeMap::new, &work)?;
        done.ok_or_else(interrupted)
    }
}

/// What a batch showed, by the node index of the convolution before each batch-norm.
fn statistics(
    file: &GraphFile,
    images: usize,
    outputs: &[Tensor],
) -> Result<BTreeMap<usize, BatchStatistics>, Trouble> {
    let mut all: BTreeMap<usize, BatchStatistics> = BTreeMap::new();
    for (kind, tensor) in file.outputs.iter().zip(outputs) {
        let (GraphOutput::Mean(NormName::Node(node)) | GraphOutput::Variance(NormName::Node(node))) =
            kind
        else {
            continue;
        };
        let entry = all.entry(*node).or_insert_with(|| BatchStatistics {
            images,
            mean: Vec::new(),
            variance: Vec::new(),
        });
        match kind {
            GraphOutput::Mean(_) => entry.mean = tensor.data().to_vec(),
            _ => entry.variance = tensor.data().to_vec(),
        }
    }
    let whole = |b: &BatchStatistics| !b.mean.is_empty() && b.mean.len() == b.variance.len();
    if all.values().all(whole) {
        return Ok(all);
    }
    Err(Trouble::failed(
        "the engine left out statistics of a batch-norm",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_count_ranks() {
        let logits = [0.5, 3.0, -1.0, 3.0, 2.0, 2.5, 0.0];
        let score = |class| Scores::of(&logits, class).unwrap();
        assert_eq!(
            [1, 3, 5, 4, 0, 6].map(|c| score(c).top1),
            [1, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            [1, 3, 5, 4, 0, 6].map(|c| score(c).top5),
            [1, 1, 1, 1, 1, 0]
        );
        // log-sum-exp minus the logit
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((score(4).loss - (sum.ln() - 2.0)).abs() < 1e-12);
        assert_eq!(
            Scores::of(&[f32::NAN, 0.0], 1),
            Err(Trouble::Failed(Failure::NotFinite))
        );
    }
}
