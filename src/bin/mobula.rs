//! The command of whoever decides who belongs to a cluster.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mobula::actors::id::PeerKey;
use mobula::net::{Certificate, ClusterKey, Identity, Revocations, parse_key};

/// Certificates that last longer are as good as endless.
const DAYS_MAX: i64 = 3_650;
const DAY: Duration = Duration::from_secs(86_400);

const MODEL: &str = "\
Who belongs to a cluster, in ten lines:
  1. A cluster is a secret key. Keep it offline: no node ever needs it.
  2. A node is a secret key, made on its host, never copied, readable by its owner only.
  3. The cluster key signs certificates: `this node is a member until then`.
  4. Nodes show each other their certificates before any other word; without one, no word.
  5. So a new member is known to all at once, and no other node changes a file.
  6. Certificates expire: admit the node again and replace its file; it need not stop.
  7. Is a node's key stolen: revoke it, and copy the list of revocations to every node.
  8. Nodes look at the list every second and close the connections of who is on it.
  9. Is the cluster's key stolen: make a new one, and admit every node again.
 10. A node without a certificate or an allowlist listens on its own host only.

  offline$ mobula keygen --cluster cluster.key
  host$    mobula keygen node.key                     (prints PEER, which is public)
  offline$ mobula admit PEER --key cluster.key --days 90 --out node.cert
  host     Node::builder().identity(\"node.key\").certificate(\"node.cert\").revocations(\"revoked\")
  offline$ mobula revoke PEER --key cluster.key --list revoked   (then to every host)";

/// Says who belongs to a cluster of Mobula.
#[derive(Debug, Parser)]
#[command(name = "mobula", version, after_help = MODEL)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a secret key in a new file of mode 0600 and prints its public half.
    #[command(after_help = MODEL)]
    Keygen(Keygen),
    /// Makes a node a member: signs a certificate for its public key.
    #[command(after_help = MODEL)]
    Admit(Admit),
    /// Takes a node's membership back: puts it on the list of revocations.
    #[command(after_help = MODEL)]
    Revoke(Revoke),
    /// Says what a certificate or a list of revocations says, if its signature is right.
    Show(Show),
}

#[derive(Debug, Args)]
struct Keygen {
    /// Make the key of a cluster instead of that of a node.
    #[arg(long)]
    cluster: bool,
    /// Where to write it. A file that exists is left as it is.
    file: PathBuf,
}

#[derive(Debug, Args)]
struct Admit {
    /// The node's public key, as `mobula keygen` printed it, or its libp2p peer name.
    #[arg(value_parser = peer)]
    peer: PeerKey,
    /// The secret key of the cluster.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long the certificate holds.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: u32,
    /// Where to write the certificate; one that is there is replaced. Without it, it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The node's public key, as `mobula keygen` printed it, or its libp2p peer name.
    #[arg(value_parser = peer)]
    peer: PeerKey,
    /// The secret key of the cluster.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The list of revocations. It is made if there is none, and continued if there is one: always
    /// continue the same list, nodes ignore one with fewer changes than they know.
    #[arg(long, value_name = "FILE")]
    list: PathBuf,
    /// Revoke certificates up to this serial only (`mobula show` tells it); later ones hold.
    /// Without it the key is out for good: the node needs a new one.
    #[arg(long, value_name = "SERIAL", default_value_t = u64::MAX, hide_default_value = true)]
    up_to: u64,
}

#[derive(Debug, Args)]
struct Show {
    /// A certificate or a list of revocations.
    file: PathBuf,
}

fn main() -> ExitCode {
    let done = match Flags::parse().command {
        Command::Keygen(flags) => keygen(&flags),
        Command::Admit(flags) => admit(&flags),
        Command::Revoke(flags) => revoke(&flags),
        Command::Show(flags) => show(&flags.file),
    };
    match done {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("mobula: {why}");
            ExitCode::FAILURE
        }
    }
}

fn keygen(flags: &Keygen) -> Result<String, Box<dyn Error>> {
    let at = |error| format!("{}: {error}", flags.file.display());
    if flags.cluster {
        let key = ClusterKey::generate();
        key.save(&flags.file).map_err(at)?;
        return Ok(format!("{}\n", key.id()));
    }
    let identity = Identity::generate();
    identity.save(&flags.file).map_err(at)?;
    Ok(format!("{:#}\n", identity.peer_key()))
}

fn admit(flags: &Admit) -> Result<String, Box<dyn Error>> {
    let certificate = cluster_key(&flags.key)?.admit(flags.peer, DAY.saturating_mul(flags.days));
    let text = certificate.to_text();
    let Some(out) = &flags.out else { return Ok(text) };
    replace(out, &text)?;
    Ok(about(&certificate))
}

fn revoke(flags: &Revoke) -> Result<String, Box<dyn Error>> {
    let key = cluster_key(&flags.key)?;
    let at = |error| format!("{}: {error}", flags.list.display());
    let list = if flags.list.exists() {
        Revocations::load(&flags.list).map_err(at)?
    } else {
        key.revoke_nobody()
    };
    let list = list.revoke(&key, flags.peer, flags.up_to).map_err(at)?;
    replace(&flags.list, &list.to_text())?;
    Ok(format!("{}now copy it to every node\n", about_list(&list)))
}

fn show(file: &Path) -> Result<String, Box<dyn Error>> {
    if let Ok(list) = Revocations::load(file) {
        return Ok(about_list(&list));
    }
    let certificate = Certificate::load(file);
    Ok(about(&certificate.map_err(|error| format!("{}: {error}", file.display()))?))
}

fn about(certificate: &Certificate) -> String {
    format!(
        "certificate of {:#}\nin cluster {}\nserial {}, expires at Unix time {}\n",
        certificate.peer(),
        certificate.cluster(),
        certificate.serial(),
        certificate.expires_s(),
    )
}

fn about_list(list: &Revocations) -> String {
    format!(
        "revocations of cluster {}\nversion {}, {} nodes\n",
        list.cluster(),
        list.version(),
        list.len()
    )
}

fn cluster_key(file: &Path) -> Result<ClusterKey, String> {
    ClusterKey::load(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn peer(text: &str) -> Result<PeerKey, String> {
    let expected = "expected 64 hexadecimal digits, as `mobula keygen` prints them";
    parse_key(text).ok_or_else(|| expected.to_owned())
}

/// Puts a whole file in the place of the one before: nodes may read it at any moment.
fn replace(file: &Path, text: &str) -> Result<(), String> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, file));
    written.map_err(|error| format!("{}: {error}", file.display()))
}
