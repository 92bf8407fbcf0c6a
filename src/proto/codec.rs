//! How messages become bytes: as prost does it, with buffers that fit gates.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::{ProstDecoder, ProstEncoder};

/// What a stream allocates before its first message: room for a usual gate. It grows with larger ones, and it is most
/// of what a wait costs: tonic's own 8 KiB would be half of a server's memory.
const BUFFER_BYTES: usize = 512;

/// How much of a stream's messages is gathered before it is sent.
const SEND_BYTES: usize = 32 * 1024;

/// The codec of every generated client and server.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + 'static, U: Message + Default + 'static> tonic::codec::Codec for Codec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(buffers())
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, SEND_BYTES)
}
