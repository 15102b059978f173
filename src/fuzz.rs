//! Every decoder of bytes from outside, as the fuzz targets of `fuzz/` and the replay of their
//! corpus call it. Only with feature `fuzz`, and for nobody else: nothing here is stable.

use std::fmt;

use crate::{gossip, net, node};

/// The decoders, by name.
pub struct Decoders {
    node: node::fuzz::Decoders,
}

impl Decoders {
    /// The names of all, which are those of the fuzz targets and of the folders of their corpora.
    pub const NAMES: [&str; 9] =
        ["address", "body", "frame", "gossip", "greeting", "head", "hello", "message", "text"];

    /// What they need.
    ///
    /// # Panics
    /// When the system gives no thread for a runtime.
    #[must_use]
    pub fn new() -> Self {
        Self { node: node::fuzz::Decoders::new() }
    }

    /// Gives bytes to a decoder. It is to return, whatever they are.
    ///
    /// # Panics
    /// When the decoder has a bug, and on a name that is none.
    pub fn feed(&self, name: &str, bytes: &[u8]) {
        match name {
            "address" => net::fuzz::address(bytes),
            "body" => net::fuzz::body(bytes),
            "frame" => net::fuzz::frame(bytes),
            "gossip" => gossip::fuzz::frame(bytes),
            "greeting" => net::fuzz::greeting(bytes),
            "head" => node::fuzz::head(bytes),
            "hello" => net::fuzz::hello(bytes),
            "message" => self.node.message(bytes),
            "text" => net::fuzz::text(bytes),
            other => panic!("there is no decoder {other:?}"),
        }
    }

    /// Something valid for each decoder, as this version writes it: the seeds of a corpus.
    #[must_use]
    pub fn seeds(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut seeds = net::fuzz::seeds();
        seeds.extend(gossip::fuzz::seeds().into_iter().map(|seed| ("gossip", seed)));
        seeds.extend(node::fuzz::heads().into_iter().map(|seed| ("head", seed)));
        seeds.extend(self.node.messages().into_iter().map(|seed| ("message", seed)));
        seeds
    }
}

impl Default for Decoders {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoders")
    }
}
