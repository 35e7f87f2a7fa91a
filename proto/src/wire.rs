//! Distinguishes an [`Envelope`] from an event in the same stream.

use prost::DecodeError;

use crate::{Envelope, Message};

impl Envelope {
    /// In front of each envelope. No protobuf message begins with a zero, since no field has
    /// the number 0; so no event does.
    pub const MAGIC: [u8; 4] = *b"\0CGE";

    /// The envelope as it travels.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::MAGIC.len() + self.encoded_len());
        bytes.extend_from_slice(&Self::MAGIC);
        self.encode(&mut bytes).expect("a vector grows");
        bytes
    }

    /// The envelope in `bytes`; `None` if they are an event instead.
    ///
    /// # Errors
    /// They begin like an envelope and cannot be decoded as one.
    pub fn from_wire(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        bytes.strip_prefix(&Self::MAGIC).map(Self::decode).transpose()
    }
}
