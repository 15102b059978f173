//! The periods and bounds of gossip. The defaults are the "default" profile of the design notes.

use std::time::Duration;

/// Periods and bounds of one [`Gossip`](super::Gossip) machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where this node can be dialled; at most [`ADDRESS_BYTES_MAX`](super::ADDRESS_BYTES_MAX)
    /// bytes, or it is gossiped as empty.
    pub address: String,
    /// One member is probed each period. Default 1 s.
    pub probe_period: Duration,
    /// How long a direct probe may take before others are asked to probe. Default 500 ms.
    pub probe_timeout: Duration,
    /// How many members are asked to probe in our place. Default 3.
    pub probe_helpers: usize,
    /// Shortest suspicion = this × max(1, log10 n) × probe period. Default 4.
    pub suspicion_multiplier: u32,
    /// Longest suspicion = this × the shortest. Default 6.
    pub suspicion_factor_max: u32,
    /// How often claims are gossiped when there are any. Default 200 ms.
    pub gossip_period: Duration,
    /// To how many members claims and digests go in one round. Default 3.
    pub fanout: usize,
    /// How often the table is compared with that of one random neighbour. Default 1 s.
    pub compare_period: Duration,
    /// How often one known member without a connection is dialled, so that healed partitions
    /// meet again. Default 2 s.
    pub redial_period: Duration,
    /// How often records are exchanged. Default 300 ms.
    pub exchange_period: Duration,
    /// How long a small change of the local record may wait. Default 1 s.
    ///
    /// Clusters of tens of nodes can afford ten times the freshness that the design asks of
    /// thousands (10 s): the rows are few, and one fresh row saves a refused placement.
    pub record_patience: Duration,
    /// Most living members of a section: within it all are connected and know each other's
    /// records. Default 128.
    pub section_members_max: usize,
    /// Most members, this node and the dead ones not forgotten included; further newcomers are
    /// refused. Default 512: gossip itself stands 20,000, but a node keeps a link to each.
    pub members_max: usize,
}

impl Config {
    /// Probes each 200 ms with a timeout of 100 ms: for machines beside each other, and where a
    /// silent node has to be noticed in seconds. It costs five times the probes.
    #[must_use]
    pub fn fast() -> Self {
        Self {
            probe_period: Duration::from_millis(200),
            probe_timeout: Duration::from_millis(100),
            ..Self::default()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: String::new(),
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            probe_helpers: 3,
            suspicion_multiplier: 4,
            suspicion_factor_max: 6,
            gossip_period: Duration::from_millis(200),
            fanout: 3,
            compare_period: Duration::from_secs(1),
            redial_period: Duration::from_secs(2),
            exchange_period: Duration::from_millis(300),
            record_patience: Duration::from_secs(1),
            section_members_max: 128,
            members_max: 512,
        }
    }
}
