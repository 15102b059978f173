//! Two processes on loopback: what a message between nodes costs, layer by layer and beside rivals.

mod bench;
mod erlang;
mod lanes;
mod layers;
mod mobula;
mod nodes;
mod peer;
mod process;
mod ractor_cluster;
mod stream;

use clap::ValueEnum;

pub(crate) use bench::Bench;
pub(crate) use process::{Role, Turn};

/// A side. The first four are the layers beneath ours, `Lanes` is ours without actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Who {
    Mobula,
    Lanes,
    Tcp,
    Noise,
    Yamux,
    Libp2pStream,
    Erlang,
    RactorCluster,
}
