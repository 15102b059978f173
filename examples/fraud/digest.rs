//! A fingerprint of every verdict of a run, to compare two runs bit for bit.
//!
//! - D-1: the digest is BLAKE3 over, for every verdict in the order given, the index (8 bytes,
//!   little endian), the bits of the prediction (8 bytes, little endian) and the label (1 byte). A
//!   verdict lost, repeated, swapped or changed in one bit changes it.

use crate::verdict::Verdict;

/// Collects verdicts; see the module.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    hasher: blake3::Hasher,
}

impl Digest {
    /// Adds one verdict. The caller keeps the index order.
    pub fn record(&mut self, verdict: &Verdict) {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&verdict.index.to_le_bytes());
        bytes[8..16].copy_from_slice(&verdict.prediction.to_bits().to_le_bytes());
        bytes[16] = u8::from(verdict.label);
        self.hasher.update(&bytes);
    }

    /// The digest so far, as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(verdicts: &[Verdict]) -> String {
        let mut digest = Digest::default();
        verdicts.iter().for_each(|verdict| digest.record(verdict));
        digest.hex()
    }

    // D-1
    #[test]
    fn the_digest_is_blake3_over_the_documented_bytes() {
        let bytes = [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 1];
        let expected = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!(digest_of(&[Verdict { index: 7, prediction: 0.5, label: true }]), expected);
    }

    // D-1
    #[test]
    fn a_lost_repeated_swapped_or_changed_verdict_changes_the_digest() {
        let a = Verdict { index: 0, prediction: 0.25, label: false };
        let b = Verdict { index: 1, prediction: 0.25, label: false };
        let nudged = Verdict { prediction: f64::from_bits(0.25_f64.to_bits() + 1), ..b };
        let right = digest_of(&[a, b]);
        for wrong in
            [&[a][..], &[a, b, b], &[b, a], &[a, nudged], &[a, Verdict { label: true, ..b }]]
        {
            assert_ne!(digest_of(wrong), right);
        }
    }
}
