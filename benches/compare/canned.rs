//! Replies that are there before they are asked for, and messages that nobody decodes.
//!
//! `benches/limitador` has this file, too.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// How sessions are called.
pub(crate) const SESSION: Names = Names("s");

/// Names of one length, so that one can be put in another's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names(&'static str);

impl Names {
    pub(crate) fn name(self, number: u64) -> String {
        format!("{}{:09}", self.0, number % 1_000_000_000)
    }
}

/// A reply, and where in it the session's name stands.
pub(crate) struct Canned {
    bytes: Vec<u8>,
    names: Vec<usize>,
    count: AtomicU64,
}

impl Canned {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let name = SESSION.name(0);
        let here = |at: &usize| bytes[*at..].starts_with(name.as_bytes());
        let names = (0..bytes.len()).filter(here).collect();
        Self { bytes, names, count: AtomicU64::new(0) }
    }

    pub(crate) fn reply(&self) -> Bytes {
        if self.names.is_empty() {
            return Bytes::copy_from_slice(&self.bytes);
        }
        let mut bytes = self.bytes.clone();
        let name = SESSION.name(self.count.fetch_add(1, Ordering::Relaxed));
        for at in &self.names {
            bytes[*at..*at + name.len()].copy_from_slice(name.as_bytes());
        }
        bytes.into()
    }
}

/// Messages as the bytes that they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let len = from.remaining();
        Ok(Some(from.copy_to_bytes(len)))
    }
}
