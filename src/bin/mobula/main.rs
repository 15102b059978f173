//! The command of whoever decides who belongs to a cluster, and of whoever looks at one.

mod look;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mobula::actors::id::PeerKey;
use mobula::net::{
    self, Caps, Certificate, CertificateError, ClusterKey, Identity, Revocations, Rights, Verb,
    parse_key,
};

/// Certificates that last longer are as good as endless.
const DAYS_MAX: i64 = 3_650;
const DAY: Duration = Duration::from_secs(86_400);

const MODEL: &str = "\
Who belongs to a cluster, in ten lines:
  1. A cluster is a secret key. Keep it offline: no node ever needs it.
  2. A node is a secret key, made on its host, never copied, readable by its owner only.
  3. The cluster key signs certificates: `this node is a member until then, and may ask this`.
  4. Nodes show each other their certificates before any other word; without one, no word.
  5. So a new member is known to all at once, and no other node changes a file.
  6. Certificates expire: admit the node again and replace its file; it need not stop.
  7. Is a node's key stolen: revoke it, and copy the list of revocations to a node or two.
  8. Nodes hand newer lists on at once, and close the connections of who is on one.
  9. Is the cluster's key stolen: make a new one, and admit every node again.
 10. A node without a certificate or an allowlist listens on its own host only.

  offline$ mobula keygen --cluster cluster.key
  host$    mobula keygen node.key                     (prints PEER, which is public)
  offline$ mobula admit PEER --key cluster.key --days 90 --out node.cert
  host     Node::builder().identity(\"node.key\").certificate(\"node.cert\").revocations(\"revoked\")
  offline$ mobula revoke PEER --key cluster.key --list revoked   (then to some hosts)";

const MAY: &str = "\
What a member may ask of each other member; without --may, everything:
  start       start actors there, of --kinds and within the bounds of each node
  end         end actors there that it has a reference to
  message     send messages to actors there
  watch       be told when actors there end
  locate      ask where actors are whose home is there
  name        register names
  find        look names up
  checkpoint  hand over the states of actors that it hosts
  members     ask for the members that are known there

Answers need no grant. A client needs message, find and locate; a host for others' actors needs
checkpoint, and whatever its actors ask for. Others are refused with an error that names what is
missing.";

/// Says who belongs to a cluster of Mobula, and looks at one that runs.
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
    #[command(after_help = MODEL, after_long_help = format!("{MODEL}\n\n{MAY}"))]
    Admit(Admit),
    /// Hands a part of what a member may ask on to another member, signed with its own key.
    #[command(after_help = MAY)]
    Grant(Grant),
    /// Takes a node's membership back: puts it on the list of revocations.
    #[command(after_help = MODEL)]
    Revoke(Revoke),
    /// Says what a certificate, a grant or a list of revocations says, if its signatures are right.
    Show(Show),
    /// Says who is alive and who has room, as one node sees it.
    #[command(after_help = look::HOW)]
    Status(look::Look),
    /// Prints the supervision trees of all nodes.
    #[command(after_help = look::HOW)]
    Tree(look::Look),
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
    #[command(flatten)]
    may: May,
}

#[derive(Debug, Args)]
struct Grant {
    /// The public key of the member that is to have it, as `mobula keygen` printed it.
    #[arg(value_parser = peer)]
    peer: PeerKey,
    /// The secret key of the member that gives it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The certificate of the giver, or a grant that it holds. At most 3 grants follow each other.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// How long the grant holds; no longer than what it is made from.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: u32,
    /// Where to write the grant; one that is there is replaced. Without it, it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    may: May,
}

/// What is granted.
#[derive(Debug, Args)]
struct May {
    /// What it may ask, such as `start,message`. Without it everything; `nothing` for nothing.
    #[arg(long, value_name = "VERBS", value_parser = verbs)]
    may: Option<Verbs>,
    /// The kinds that it may start, such as `shop.cart,shop.till`. Without it all that are hosted.
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    kinds: Option<Vec<String>>,
    /// What its actors may take of each node's processors, in thousandths of a core.
    #[arg(long, value_name = "MILLI")]
    cpu_milli: Option<u64>,
    /// The same of main memory, in bytes.
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// The same of a GPU, in thousandths of one.
    #[arg(long, value_name = "MILLI")]
    gpu_milli: Option<u64>,
    /// The same of device memory, in bytes.
    #[arg(long, value_name = "BYTES")]
    vram: Option<u64>,
    /// How many actors it may have on each node.
    #[arg(long, value_name = "N")]
    actors: Option<u64>,
}

#[derive(Clone, Debug)]
struct Verbs(Vec<Verb>);

impl May {
    fn rights(&self) -> Rights {
        let verbs = self.may.as_ref().map_or_else(|| Verb::ALL.to_vec(), |verbs| verbs.0.clone());
        let rights = Rights::of(verbs);
        let rights = match &self.kinds {
            Some(kinds) => rights.kinds(kinds.clone()),
            None => rights,
        };
        rights.caps(Caps {
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory,
            gpu_milli: self.gpu_milli,
            vram_bytes: self.vram,
            actors: self.actors,
        })
    }
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
    /// A certificate, a grant or a list of revocations.
    file: PathBuf,
}

fn main() -> ExitCode {
    let done = match Flags::parse().command {
        Command::Keygen(flags) => keygen(&flags),
        Command::Admit(flags) => admit(&flags),
        Command::Grant(flags) => grant(&flags),
        Command::Revoke(flags) => revoke(&flags),
        Command::Show(flags) => show(&flags.file),
        Command::Status(flags) => look::status(flags),
        Command::Tree(flags) => look::tree(flags),
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
    let (key, lifetime) = (cluster_key(&flags.key)?, DAY.saturating_mul(flags.days));
    let certificate = key.admit_with(flags.peer, lifetime, flags.may.rights())?;
    let text = certificate.to_text();
    let Some(out) = &flags.out else { return Ok(text) };
    replace(out, &text)?;
    Ok(about(&certificate))
}

fn grant(flags: &Grant) -> Result<String, Box<dyn Error>> {
    let at = |file: &Path| format!("{}: ", file.display());
    let issuer = Identity::load(&flags.key).map_err(|error| at(&flags.key) + &error.to_string())?;
    let (peer, lifetime, rights) = (flags.peer, DAY.saturating_mul(flags.days), flags.may.rights());
    let granted = match net::Grant::load(&flags.from) {
        Ok(held) => held.narrow(&issuer, peer, lifetime, rights),
        Err(CertificateError::NoGrant) => {
            let own = Certificate::load(&flags.from);
            let own = own.map_err(|error| at(&flags.from) + &error.to_string())?;
            net::Grant::issue(&issuer, &own, peer, lifetime, rights)
        }
        Err(error) => Err(error),
    };
    let granted = granted.map_err(|error| at(&flags.from) + &error.to_string())?;
    let text = granted.to_text();
    let Some(out) = &flags.out else { return Ok(text) };
    replace(out, &text)?;
    Ok(about_grant(&granted))
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
    Ok(format!("{}now copy it to a node or two\n", about_list(&list)))
}

fn show(file: &Path) -> Result<String, Box<dyn Error>> {
    if let Ok(list) = Revocations::load(file) {
        return Ok(about_list(&list));
    }
    if let Ok(granted) = net::Grant::load(file) {
        return Ok(about_grant(&granted));
    }
    let certificate = Certificate::load(file);
    Ok(about(&certificate.map_err(|error| format!("{}: {error}", file.display()))?))
}

fn about(certificate: &Certificate) -> String {
    format!(
        "certificate of {:#}\nin cluster {}\nserial {}, expires at Unix time {}\nmay ask: {}\n",
        certificate.peer(),
        certificate.cluster(),
        certificate.serial(),
        certificate.expires_s(),
        certificate.rights(),
    )
}

fn about_grant(granted: &net::Grant) -> String {
    let issuers: String = granted.issuers().map(|by| format!("given by {by:#}\n")).collect();
    let holder = granted.holder().map(|holder| format!("grant of {holder:#}\n"));
    let rights = granted.rights().map(|rights| format!("may ask: {rights}\n"));
    let (serial, expires_s) = (granted.serial(), granted.expires_s());
    let times = format!("serial {serial}, expires at Unix time {expires_s}\n");
    holder.unwrap_or_default() + &issuers + &times + &rights.unwrap_or_default()
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

fn verbs(text: &str) -> Result<Verbs, String> {
    if text == "nothing" {
        return Ok(Verbs(Vec::new()));
    }
    let known = || Verb::ALL.map(|verb| verb.to_string()).join(", ");
    let verb = |word: &str| Verb::parse(word).ok_or_else(|| format!("{word}: one of {}", known()));
    text.split(',').map(verb).collect::<Result<_, _>>().map(Verbs)
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
