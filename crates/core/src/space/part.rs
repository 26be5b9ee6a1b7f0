//! Whether a space is a part of another: the same networks, with fewer or equal choices.

use super::{Block, DesignSpace, Unit};

impl DesignSpace {
    /// Checks that every architecture of this space is one of `whole` too: the same layers around the units, and in
    /// every unit no choice that `whole` lacks. Names and titles do not matter, so what holds for a space also holds for
    /// its reductions.
    ///
    /// # Errors
    /// The first thing that differs, as a phrase.
    pub fn check_part_of(&self, whole: &DesignSpace) -> Result<(), String> {
        #[allow(clippy::float_cmp)] // decimals from files
        let same_networks = self.stem == whole.stem
            && self.head == whole.head
            && self.classes == whole.classes
            && self.batch_norm_epsilon == whole.batch_norm_epsilon;
        if !same_networks {
            return Err("its stem, head or number of classes is another".into());
        }
        if self.units.len() != whole.units.len() {
            return Err(format!(
                "it has {} units and not {}",
                self.units.len(),
                whole.units.len()
            ));
        }
        for (index, (unit, other)) in self.units.iter().zip(&whole.units).enumerate() {
            part_of_unit(unit, other).map_err(|what| format!("in unit {}, {what}", index + 1))?;
        }
        Ok(())
    }
}

fn part_of_unit(unit: &Unit, whole: &Unit) -> Result<(), String> {
    let alike = unit.before == whole.before
        && unit.stride == whole.stride
        && unit.activation == whole.activation
        && unit.squeeze_excite == whole.squeeze_excite;
    if !alike {
        return Err("the stride, activation or squeeze-and-excitation is another".into());
    }
    if unit.min_depth < whole.min_depth || unit.max_depth > whole.max_depth {
        return Err(format!(
            "depths {} to {} are not all among {} to {}",
            unit.min_depth, unit.max_depth, whole.min_depth, whole.max_depth
        ));
    }
    let channels = |u: &Unit| u.widths.iter().map(|w| w.channels).collect::<Vec<_>>();
    let (widths, others) = (channels(unit), channels(whole));
    if widths.is_empty() != others.is_empty() || widths.iter().any(|c| !others.contains(c)) {
        return Err(format!("{widths:?} channels are not all among {others:?}"));
    }
    for layer in 0..unit.max_depth {
        let known = whole.blocks(layer);
        let missing = |block: &&Block| !known.contains(block);
        if let Some(block) = unit.blocks(layer).iter().find(missing) {
            return Err(format!("{block} is not a candidate of layer {}", layer + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::space::DesignSpace;

    #[test]
    fn parts_are_told_from_other_spaces() {
        let whole = DesignSpace::builtin("ofa-mbv3", Some(1.2)).unwrap();
        let source = DesignSpace::builtin_source("ofa-mbv3").unwrap();
        let changed = |from: &str, to: &str| {
            assert!(source.contains(from), "{from}");
            let text = source.replacen(from, to, 1);
            DesignSpace::from_toml("other.toml", &text, Some(1.2)).unwrap()
        };
        assert_eq!(whole.check_part_of(&whole), Ok(()));
        for (from, to) in [
            ("name = \"ofa-mbv3\"", "name = \"mine\""),
            ("depth = [2, 4]", "depth = 3"),
            ("{3,4,6}", "{3,6}"),
        ] {
            let part = changed(from, to);
            assert_eq!(part.check_part_of(&whole), Ok(()), "{to}");
        }
        for (from, to, why) in [
            ("depth = [2, 4]", "depth = [1, 4]", "depths 1 to 4"),
            ("{3,4,6}", "{3,5}", "mbconv3_e5_k3 is not a candidate"),
            ("channels = 160", "channels = 168", "channels are not all"),
            ("stride = 2", "stride = 1", "the stride"),
            ("c16", "c24", "its stem"),
        ] {
            let error = changed(from, to).check_part_of(&whole).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
        let narrow = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
        assert!(narrow.check_part_of(&whole).is_err());
        let resnet = DesignSpace::builtin("ofa-resnet50", None).unwrap();
        assert!(resnet.check_part_of(&whole).is_err());
    }
}
