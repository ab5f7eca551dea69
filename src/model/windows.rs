//! Layers whose attention looks back over a window, between layers that see everything.
//!
//! In a windowed layer a token sees the last `size` positions, its own among them, and positions turn pairs by
//! frequencies of their own base, which are never scaled. gemma3 has five such layers for each one that sees
//! everything; which those are is listed, since layers that are stacked into another network keep their ways.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::config::{ConfigError, ensure, ensure_positive};

/// The windows of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// How many positions a token sees, its own among them.
    pub size: u32,
    /// Base of the rotary frequencies of windowed layers.
    pub rope_theta: f32,
    /// The layers that see everything, ascending.
    pub full: Vec<u32>,
}

impl Windows {
    /// The layers that see everything where each `period`-th of `layers` does.
    pub fn every(period: u32, layers: u32) -> Vec<u32> {
        (0..layers).filter(|layer| (layer + 1).is_multiple_of(period.max(1))).collect()
    }

    /// How far back the layer sees; nothing if it sees everything.
    pub fn of_layer(&self, layer: usize) -> Option<usize> {
        let listed = u32::try_from(layer).is_ok_and(|layer| self.full.binary_search(&layer).is_ok());
        (!listed).then_some(self.size as usize)
    }

    pub(super) fn validate(&self, layers: u32) -> Result<(), ConfigError> {
        ensure(self.size != 0, "sliding_window", &self.size, &"at least 1")?;
        ensure_positive("rope_theta of windows", f64::from(self.rope_theta), &self.rope_theta)?;
        let mut least = 0;
        for layer in &self.full {
            let is_next = (least..layers).contains(layer);
            ensure(is_next, "layers that see everything", layer, &"a layer behind those before it")?;
            least = layer + 1;
        }
        Ok(())
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} positions, frequencies of {}, ", self.size, self.rope_theta)?;
        let full: Vec<_> = self.full.iter().map(ToString::to_string).collect();
        match full.as_slice() {
            [] => f.write_str("in every layer"),
            _ => write!(f, "but in layers {}", full.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sixth_layer_sees_everything() {
        let windows = Windows { size: 4, rope_theta: 1e4, full: Windows::every(6, 13) };
        assert_eq!(windows.full, [5, 11]);
        assert_eq!(
            [0, 4, 5, 6, 11].map(|layer| windows.of_layer(layer)),
            [Some(4), Some(4), None, Some(4), None]
        );
        assert_eq!(windows.to_string(), "of 4 positions, frequencies of 10000, but in layers 5, 11");
        assert_eq!(windows.validate(13), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |size, rope_theta, full: &[u32]| {
            Windows { size, rope_theta, full: full.to_vec() }.validate(6).unwrap_err().to_string()
        };
        assert!(refused(0, 1.0, &[]).contains("sliding_window is 0"));
        assert!(refused(1, f32::NAN, &[]).contains("rope_theta of windows is NaN"));
        for full in [&[6][..], &[3, 2], &[2, 2]] {
            assert!(refused(1, 1.0, full).contains("a layer behind those before it"));
        }
    }
}
