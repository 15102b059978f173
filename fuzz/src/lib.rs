//! What the fuzz targets share.

use mobula::fuzz::Decoders;

thread_local! {
    static DECODERS: Decoders = Decoders::new();
}

/// Gives bytes to a decoder, by its name.
pub fn feed(name: &str, bytes: &[u8]) {
    DECODERS.with(|decoders| decoders.feed(name, bytes));
}
