//! `status` and `tree`: a look at a cluster that runs, through one of its nodes.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mobula::actors::id::NodeId;
use mobula::node::{NodeStatus, Observer, ObserverError, Standing, Status, TreeLine, Trees};
use mobula::placement::Capacity;
use serde_json::{Value, json};

pub(crate) const HOW: &str = "\
It asks as a member that only looks: it needs a key of its own (`mobula keygen`) and a certificate
for it (`mobula admit PEER --may members` is enough), takes part in nothing and changes nothing.
Nodes that do not reply in time are named. ADDRESS is what a node's program prints with
`node.addresses()`; several may be given, and the first that answers is asked.

  mobula status /ip4/10.0.0.1/tcp/7000/p2p/12D3... --key eyes.key --certificate eyes.cert";

/// Whom to ask, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Look {
    /// A node to ask, /ip4/HOST/tcp/PORT/p2p/KEY.
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// The secret key to ask with, which is that of no running node.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The certificate for that key.
    #[arg(long, value_name = "FILE", required_unless_present = "members")]
    certificate: Option<PathBuf>,
    /// The list of members, in a cluster without certificates.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    members: Option<PathBuf>,
    /// Whom to ask no more, as `mobula revoke` writes it.
    #[arg(long, value_name = "FILE", conflicts_with = "members")]
    revocations: Option<PathBuf>,
    /// How long to wait for answers, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(flags: Look) -> Result<String, Box<dyn Error>> {
    let (json, timeout) = (flags.json, Duration::from_secs(flags.timeout));
    let look = async |observer: Observer| observer.status(timeout).await;
    let status = observed(flags, look)?;
    Ok(if json { format!("{}\n", status_json(&status)) } else { status_text(&status) })
}

pub(crate) fn tree(flags: Look) -> Result<String, Box<dyn Error>> {
    let (json, timeout) = (flags.json, Duration::from_secs(flags.timeout));
    let look = async |observer: Observer| observer.trees(timeout).await;
    let trees = observed(flags, look)?;
    Ok(if json { format!("{}\n", trees_json(&trees)) } else { trees_text(&trees) })
}

fn observed<T>(
    flags: Look,
    look: impl AsyncFnOnce(Observer) -> Result<T, ObserverError>,
) -> Result<T, Box<dyn Error>> {
    if !flags.key.exists() {
        return Err(
            format!("{}: no such key: `mobula keygen` makes one", flags.key.display()).into()
        );
    }
    let mut peer = mobula::Node::builder().identity(flags.key).join(flags.addresses);
    if let Some(file) = flags.certificate {
        peer = peer.certificate(file);
    }
    if let Some(file) = flags.members {
        peer = peer.membership(file);
    }
    if let Some(file) = flags.revocations {
        peer = peer.revocations(file);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let timeout = Duration::from_secs(flags.timeout);
    Ok(runtime.block_on(async { look(peer.observe(timeout).await?).await })?)
}

fn status_text(status: &Status) -> String {
    let heads = ["node", "state", "record", "actors", "cpu", "memory", "devices", "places"];
    let mut rows = vec![heads.map(String::from)];
    rows.extend(status.nodes.iter().map(row));
    let mut text = table(&rows);
    for node in &status.nodes {
        let (kinds, labels) = (node.kinds.join(", "), node.labels.join(", "));
        let counters = node.total.counters.iter().map(|(name, total)| {
            format!("{name} {} of {total} free", node.free.counters.get(name).unwrap_or(&0))
        });
        let counters: Vec<String> = counters.collect();
        let more = [("hosts", kinds), ("labels", labels), ("counts", counters.join(", "))];
        let more: Vec<String> = more
            .iter()
            .filter(|(_, what)| !what.is_empty())
            .map(|(word, what)| format!("{word} {what}"))
            .collect();
        if !more.is_empty() {
            // A `String` takes whatever is written.
            let _ = writeln!(text, "{}: {}", node.node.key, more.join("; "));
        }
    }
    let _ = writeln!(text, "{} nodes, as {} sees them", status.nodes.len(), status.asked.key);
    text + &silent_text(&status.silent)
}

fn row(status: &NodeStatus) -> [String; 8] {
    let NodeStatus { total, free, .. } = status;
    let unknown = || "-".to_owned();
    let known = |text: String| if status.record_age.is_some() { text } else { unknown() };
    let cores = |milli: u32| f64::from(milli) / 1_000.0;
    let mib = |bytes: u64| bytes >> 20;
    let devices = |of: &Capacity| {
        of.devices.iter().map(|device| u64::from(device.gpu_milli)).sum::<u64>() as f64 / 1_000.0
    };
    [
        status.node.to_string(),
        standing(status.standing).into(),
        status.record_age.map_or_else(unknown, |age| format!("{:.1} s", age.as_secs_f64())),
        status.actors.map_or_else(unknown, |actors| actors.to_string()),
        known(format!("{} of {} free", cores(free.cpu_milli), cores(total.cpu_milli))),
        known(format!("{} of {} MiB free", mib(free.memory_bytes), mib(total.memory_bytes))),
        known(format!("{} of {} free", devices(free), devices(total))),
        known(format!("{} of {} free", free.actors, total.actors)),
    ]
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Alive => "alive",
        Standing::Suspect => "suspect",
        Standing::Unreachable => "unreachable",
        Standing::Gone => "gone",
    }
}

fn trees_text(trees: &Trees) -> String {
    let mut text = String::new();
    for (node, lines) in &trees.nodes {
        let _ = writeln!(text, "{node}{}", if lines.is_empty() { ": no tree" } else { "" });
        text += &table(&lines.iter().map(|line| tree_row(node, line)).collect::<Vec<_>>());
    }
    text + &silent_text(&trees.silent)
}

fn tree_row(here: &NodeId, line: &TreeLine) -> [String; 5] {
    let indent = 2 * line.depth + 2;
    if line.left_out > 0 {
        let name = format!("{:indent$}and {} more", "", line.left_out);
        return [name, String::new(), String::new(), String::new(), String::new()];
    }
    let mut more = Vec::new();
    if line.node != *here {
        more.push(format!("on {}", line.node));
    }
    if line.restarts > 0 {
        more.push(format!("started again {}x", line.restarts));
    }
    more.extend(line.waits.as_ref().map(|why| format!("waits: {why}")));
    more.extend(line.last_exit.as_ref().map(|exit| format!("last: {exit}")));
    let what = match &line.below {
        Some(below) => format!("{}, {below}", line.kind),
        None => line.kind.clone(),
    };
    let run = line.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
    [format!("{:indent$}{}", "", line.name), line.state.clone(), what, run, more.join(", ")]
}

fn silent_text(silent: &[NodeId]) -> String {
    silent.iter().map(|node| format!("no reply from {node}\n")).collect()
}

/// The rows in columns.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn status_json(status: &Status) -> Value {
    let nodes = status.nodes.iter().map(|node| {
        json!({
            "key": format!("{:#}", node.node.key),
            "boot": node.node.boot,
            "state": standing(node.standing),
            "address": node.address,
            "record_age_s": node.record_age.map(|age| age.as_secs_f64()),
            "total": node.total,
            "free": node.free,
            "kinds": node.kinds,
            "labels": node.labels,
            "actors": node.actors,
        })
    });
    json!({
        "asked": node_json(&status.asked),
        "nodes": nodes.collect::<Vec<_>>(),
        "silent": status.silent.iter().map(node_json).collect::<Vec<_>>(),
    })
}

fn trees_json(trees: &Trees) -> Value {
    let nodes = trees.nodes.iter().map(|(node, lines)| {
        let mut told = node_json(node);
        told["lines"] = lines.iter().map(line_json).collect();
        told
    });
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "silent": trees.silent.iter().map(node_json).collect::<Vec<_>>(),
    })
}

fn line_json(line: &TreeLine) -> Value {
    json!({
        "depth": line.depth,
        "name": line.name,
        "kind": line.kind,
        "state": line.state,
        "below": line.below,
        "actor": line.actor.map(|actor| actor.to_string()),
        "epoch": line.epoch.map(|epoch| epoch.0),
        "node": node_json(&line.node),
        "restarts": line.restarts,
        "waits": line.waits,
        "last_exit": line.last_exit,
        "left_out": line.left_out,
    })
}

fn node_json(node: &NodeId) -> Value {
    json!({ "key": format!("{:#}", node.key), "boot": node.boot })
}
