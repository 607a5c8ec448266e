//! Keys of NATS: Ed25519, written in base 32 with what they are for in front and a checksum behind. What such a text holds
//! is said in [ADR-14](https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-14.md).

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// What a key is for, as the first five bits of its text: a user is `U`, and a seed begins with `S`.
const USER: u8 = 20 << 3;
const SEED: u8 = 18 << 3;

/// Error: a text is not the seed of a user's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSeed {
    /// It is no seed.
    Form,
    /// It is the seed of something else, such as an account.
    NotOfUser,
}

/// The key of a user.
pub struct UserKey(Ed25519KeyPair);

impl UserKey {
    /// Returns the key that this seed is of.
    pub fn of_seed(text: &str) -> Result<UserKey, BadSeed> {
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| BadSeed::Form)?;
        let (content, sum) = bytes.split_last_chunk::<2>().ok_or(BadSeed::Form)?;
        if checksum(content) != u16::from_le_bytes(*sum) {
            return Err(BadSeed::Form);
        }
        // Five bits for a seed, five for what it is the seed of, six that are 0.
        let (&[first, second], seed) = content.split_first_chunk().ok_or(BadSeed::Form)?;
        let of = (first & 0b111) << 5 | second >> 3;
        if first & 0b1111_1000 != SEED || seed.len() != 32 {
            return Err(BadSeed::Form);
        }
        if of != USER {
            return Err(BadSeed::NotOfUser);
        }
        Ed25519KeyPair::from_seed_unchecked(seed).map(UserKey).map_err(|_| BadSeed::Form)
    }

    /// Returns the public key, by which servers know the user.
    pub fn public(&self) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(self.0.public_key().as_ref());
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        BASE32_NOPAD.encode(&bytes)
    }

    /// Signs what a server asks to have signed.
    pub fn sign(&self, nonce: &str) -> String {
        BASE64URL_NOPAD.encode(self.0.sign(nonce.as_bytes()).as_ref())
    }
}

/// Returns the CRC-16 of XMODEM.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum: u16, &byte| {
        (0..8).fold(sum ^ u16::from(byte) << 8, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    pub const ACCOUNT: u8 = 0;

    /// Returns the seed of a key.
    pub fn seed(of: u8, bytes: [u8; 32]) -> String {
        let mut content = vec![SEED | of >> 5, of << 3];
        content.extend_from_slice(&bytes);
        let sum = checksum(&content);
        content.extend_from_slice(&sum.to_le_bytes());
        BASE32_NOPAD.encode(&content)
    }

    pub fn user_seed() -> String {
        seed(USER, [7; 32])
    }

    #[test]
    fn the_checksum_is_that_of_xmodem() {
        assert_eq!(checksum(b"123456789"), 0x31c3);
    }

    #[test]
    fn a_key_is_read_from_its_seed_and_from_nothing_else() {
        let text = user_seed();
        assert!(text.starts_with("SU"), "{text}");
        let key = UserKey::of_seed(&text).ok().unwrap();
        assert!(key.public().starts_with('U') && key.public().len() == 56);
        let signature = BASE64URL_NOPAD.decode(key.sign("nonce").as_bytes()).unwrap();
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.0.public_key());
        public.verify(b"nonce", &signature).unwrap();
        let error = |text: &str| UserKey::of_seed(text).err();
        assert_eq!(error(&seed(ACCOUNT, [7; 32])), Some(BadSeed::NotOfUser));
        for bad in ["", "S", "SU", &text[1..], &text[..57], &text.to_lowercase(), &key.public(), "ää"] {
            assert_eq!(error(bad), Some(BadSeed::Form), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_seed_with_another_letter_is_none(at in 0..58usize, letter in "[A-Z2-7]") {
            let mut text = user_seed();
            let before = text.clone();
            text.replace_range(at..=at, &letter);
            prop_assert!(text == before || UserKey::of_seed(&text).is_err());
        }
    }
}
