//! Messages as bytes, in buffers of the size that messages here have.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{self, BufferSettings};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a call or a stream holds for what it sends: the answer to an Acquire fits, and more grows.
const SENT: usize = 1024;
/// What it holds for what comes. Each message has its length before it, so what is longer than this
/// is given room once.
const HEARD: usize = 256;
/// How much of a stream is gathered before it is sent: tonic's own figure.
const YIELD: usize = 32 * 1024;

/// Protobuf as tonic has it, but for its buffers of 8 KiB: each stream holds two of them for as
/// long as it lives, and each call makes two.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(SENT, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(HEARD, YIELD))
    }
}
