//! The lanes' names in the negotiation of substreams.

use futures::future::{Ready, ready};
use libp2p::{
    Stream,
    core::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
};

use crate::net::message::Lane;

/// The lanes that one side offers in a negotiation.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Offer(pub(super) &'static [Lane]);

impl UpgradeInfo for Offer {
    type Info = &'static str;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, Lane>, fn(&Lane) -> &'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        let protocol: fn(&Lane) -> &'static str = |lane| lane.protocol();
        self.0.iter().map(protocol)
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Stream, Lane);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, name: &'static str) -> Self::Future {
        let lane = Lane::ALL.into_iter().find(|lane| lane.protocol() == name);
        ready(Ok((stream, lane.unwrap_or(Lane::Control))))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Stream, Lane);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, name: &'static str) -> Self::Future {
        self.upgrade_inbound(stream, name)
    }
}

pub(super) fn named(lane: Lane) -> &'static Lane {
    match lane {
        Lane::Control => &Lane::Control,
        Lane::Call => &Lane::Call,
        Lane::Bulk => &Lane::Bulk,
    }
}
