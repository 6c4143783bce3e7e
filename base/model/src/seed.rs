//! Repeatable choice: pure code gets its randomness as a seed.

use uuid::{Builder, Uuid};

/// A source of repeatable numbers; the same seed gives the same sequence on every server.
///
/// The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The sequence that starts from `value`.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The seed of a thing named by a UUID, such as an evaluation, at attempt `attempt`.
    pub fn of(id: Uuid, attempt: u64) -> Self {
        let (high, low) = id.as_u64_pair();
        Self(mix(high ^ mix(low ^ mix(attempt))))
    }

    /// The next number of the sequence.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, or 0 if `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { ((self.next_u64() as u128 * bound as u128) >> 64) as u64 }
    }

    /// The next id of the sequence, in the form of a random UUID.
    pub fn uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// A number that depends on this seed and `id` alone, to break a tie between ids.
    pub fn rank(&self, id: Uuid) -> u64 {
        let (high, low) = id.as_u64_pair();
        mix(self.0 ^ mix(high ^ mix(low)))
    }
}

/// A bijection of 64 bits whose output bits each depend on all input bits.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_they_differ_among_themselves() {
        let mut one = Seed::new(7);
        let mut two = Seed::new(7);
        let ids: Vec<_> = (0..100).map(|_| one.uuid()).collect();
        assert_eq!(ids, (0..100).map(|_| two.uuid()).collect::<Vec<_>>());
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 100);
        assert_eq!(ids[0].get_version_num(), 4);
    }
}
