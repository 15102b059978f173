//! The `mobula` command, and nodes that live by what it wrote.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use mobula::net::IdentityError;
use mobula::node::NodeBuilder;
use mobula::prelude::*;

/// Longer than anything here takes; reached only by what hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mobula-cli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, line: &str) -> Output {
        let words = line.split_whitespace();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mobula"));
        command.args(words).current_dir(&self.0).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What a command that fails complains about.
    fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(file: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).unwrap()) & 0o777
}

#[test]
fn keys_are_private_to_their_owner_and_never_overwritten() {
    let folder = Folder::new("keygen");
    for (line, name) in
        [("keygen node.key", "node.key"), ("keygen --cluster cluster.key", "cluster.key")]
    {
        let public = folder.ok(line);
        assert_eq!(public.len(), 64, "{public}");
        assert_eq!(mode(&folder.file(name)), 0o600);
        let before = std::fs::read(folder.file(name)).unwrap();
        let refused = folder.fails(line);
        assert!(refused.contains(name) && refused.contains("choose another name"), "{refused}");
        assert_eq!(std::fs::read(folder.file(name)).unwrap(), before);
        assert!(!String::from_utf8_lossy(&before).contains(&public), "the public half is public");
    }
}

#[test]
fn mistakes_are_answered_with_what_to_do() {
    let folder = Folder::new("mistakes");
    let peer = folder.ok("keygen node.key");
    folder.ok("keygen --cluster cluster.key");
    folder.ok("keygen --cluster other.key");
    folder.ok(&format!("revoke {peer} --key other.key --list others"));
    let cases = [
        (format!("admit {peer} --key node.key --days 1"), "mobula keygen --cluster"),
        (format!("admit {peer} --key nowhere --days 1"), "nowhere"),
        (format!("admit {peer} --key cluster.key"), "--days"),
        (format!("admit {peer} --key cluster.key --days 0"), "1..=3650"),
        ("admit node.key --key cluster.key --days 1".into(), "64 hexadecimal digits"),
        (format!("revoke {peer} --key cluster.key --list others"), "the key of this cluster"),
        (format!("revoke {peer} --key cluster.key --list node.key"), "mobula revoke"),
        ("show node.key".into(), "mobula admit"),
        (format!("admit {peer} --key cluster.key --days 1 --may fly"), "checkpoint"),
        (format!("grant {peer} --key node.key --from node.key --days 1"), "mobula admit"),
    ];
    for (line, advice) in cases {
        let said = folder.fails(&line);
        assert!(said.contains(advice), "{line}: {said}");
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(folder.file("cluster.key"), open).unwrap();
    let said = folder.fails(&format!("admit {peer} --key cluster.key --days 1"));
    assert!(said.contains("0644") && said.contains("0600"), "{said}");
}

#[test]
fn every_help_explains_the_model() {
    let folder = Folder::new("help");
    let words = folder.ok("grant --help");
    for verb in mobula::net::Verb::ALL {
        assert!(words.contains(&format!("\n  {verb} ")), "{verb}: {words}");
    }
    for line in ["--help", "keygen --help", "admit --help", "revoke --help"] {
        let help = folder.ok(line);
        let model = help.lines().skip_while(|line| !line.contains("in ten lines")).skip(1);
        let numbered =
            (1..=10).zip(model).all(|(n, line)| line.trim_start().starts_with(&format!("{n}. ")));
        assert!(numbered, "{line}: {help}");
    }
}

#[test]
fn what_was_granted_is_shown_and_never_more_than_the_giver_may() {
    let folder = Folder::new("grants");
    folder.ok("keygen --cluster cluster.key");
    let [giver, holder] = ["a", "b"].map(|name| folder.ok(&format!("keygen {name}.key")));
    let may = "--may start,find --kinds shop.cart --actors 9";
    let admitted =
        folder.ok(&format!("admit {giver} --key cluster.key --days 7 {may} --out a.cert"));
    assert!(admitted.contains("may ask: start, find; kinds shop.cart; actors 9"), "{admitted}");
    let grant = |more: &str, out: &str| {
        format!("grant {holder} --key a.key --from a.cert --days 7 {more} --out {out}")
    };
    let narrow = "--may start --kinds shop.cart --actors 2";
    let granted = folder.ok(&grant(narrow, "b.grant"));
    assert!(granted.contains(&holder) && granted.contains(&format!("given by {giver}")));
    assert!(granted.contains("may ask: start; kinds shop.cart; actors 2"), "{granted}");
    assert_eq!(folder.ok("show b.grant"), granted);
    for wider in ["", "--may end", "--may start", "--may start --kinds shop.cart --actors 10"] {
        let refused = folder.fails(&grant(wider, "wider"));
        assert!(refused.contains("permits more"), "{wider}: {refused}");
        assert!(!folder.file("wider").exists());
    }
    // Only the holder hands it on.
    let onward = |key: &str| {
        format!("grant {giver} --key {key}.key --from b.grant --days 1 {narrow} --out on.grant")
    };
    assert!(folder.ok(&onward("b")).contains(&format!("given by {holder}")));
    assert!(folder.fails(&onward("a")).contains("not signed"));
    let nothing =
        folder.ok(&format!("admit {holder} --key cluster.key --days 1 --may nothing --out b.cert"));
    assert!(nothing.contains("may ask: nothing"), "{nothing}");
}

/// A node by the files that the command wrote.
fn node(folder: &Folder, name: &str, seed: Option<&Node>) -> NodeBuilder {
    Node::builder()
        .identity(folder.file(&format!("{name}.key")))
        .certificate(folder.file(&format!("{name}.cert")))
        .revocations(folder.file("revoked"))
        .listen("/ip4/127.0.0.1/tcp/0")
        .join(seed.map(|seed| seed.addresses()[0].clone()))
}

async fn sees(node: &Node, n: usize) -> bool {
    let alive = move |members: &[Member]| {
        members.iter().filter(|member| member.standing == Standing::Alive).count() == n
    };
    node.until(PATIENCE, alive).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admitted_nodes_meet_and_strangers_do_not_and_the_revoked_are_thrown_out() {
    let folder = Folder::new("cluster");
    folder.ok("keygen --cluster cluster.key");
    folder.ok("keygen --cluster stranger-cluster.key");
    let mut peers = Vec::new();
    for (name, key) in [("a", "cluster.key"), ("b", "cluster.key"), ("c", "stranger-cluster.key")] {
        let peer = folder.ok(&format!("keygen {name}.key"));
        let said = folder.ok(&format!("admit {peer} --key {key} --days 7 --out {name}.cert"));
        assert!(said.contains(&peer), "{said}");
        assert_eq!(folder.ok(&format!("show {name}.cert")), said);
        peers.push(peer);
    }
    let a = node(&folder, "a", None).start().await.unwrap();
    let b = node(&folder, "b", Some(&a)).start().await.unwrap();
    assert!(sees(&a, 2).await && sees(&b, 2).await);

    let c = node(&folder, "c", Some(&a)).start().await.unwrap();
    let mut tries = tokio::time::interval(Duration::from_millis(5));
    let denied = tokio::time::timeout(PATIENCE, async {
        while a.counts().denied == 0 {
            tries.tick().await;
        }
    });
    assert!(denied.await.is_ok(), "the stranger was not denied");
    assert_eq!((a.members().len(), c.members().len()), (2, 1));
    // Somebody else's certificate is of no use.
    let stolen = node(&folder, "c", Some(&a)).certificate(folder.file("a.cert")).start().await;
    assert!(stolen.unwrap_err().to_string().contains("mobula admit"));

    folder.ok(&format!("revoke {} --key cluster.key --list revoked", peers[1]));
    assert!(sees(&a, 1).await, "{:?}", a.members());
    assert!(sees(&b, 1).await, "b is on the list that it reads too");
    assert!(a.counts().denied > 1);
}

/// A node that is looked at while it runs; the command's output.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_looked_at_with_a_key_that_may_do_nothing_else() {
    let folder = Folder::new("look");
    folder.ok("keygen --cluster cluster.key");
    for (name, may) in [("a", ""), ("b", ""), ("eyes", "--may members"), ("blind", "--may find")] {
        let peer = folder.ok(&format!("keygen {name}.key"));
        folder.ok(&format!("admit {peer} --key cluster.key --days 7 {may} --out {name}.cert"));
    }
    let a = node(&folder, "a", None).label("zone=a").start().await.unwrap();
    let b = node(&folder, "b", Some(&a)).start().await.unwrap();
    assert!(sees(&a, 2).await && sees(&b, 2).await);
    let tree = a.supervise(Supervisor::spec(Strategy::OneForOne)).await.unwrap();
    let line = |verb: &str, name: &str, more: &str| {
        let at = &a.addresses()[0];
        format!("{verb} {at} --key {name}.key --certificate {name}.cert {more}")
    };
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();

    let status = json(folder.ok(&line("status", "eyes", "--json")));
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!((nodes.len(), status["silent"].as_array().unwrap().len()), (2, 0), "{status}");
    for seen in nodes {
        assert_eq!(seen["state"], "alive");
        assert!(seen["actors"].as_u64().unwrap() > 0 && seen["record_age_s"].is_f64(), "{seen}");
        assert!(seen["total"]["actors"].as_u64() >= seen["free"]["actors"].as_u64(), "{seen}");
    }
    let text = folder.ok(&line("status", "eyes", ""));
    assert!(text.contains("labels zone=a") && text.contains("2 nodes, as"), "{text}");
    let trees = json(folder.ok(&line("tree", "eyes", "--json")));
    let lines: Vec<_> = trees["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|n| n["lines"].as_array().unwrap())
        .collect();
    assert_eq!((lines.len(), &lines[0]["name"]), (1, &"tree".into()), "{trees}");
    let text = folder.ok(&line("tree", "eyes", ""));
    assert!(text.contains("one for one, 0 of 0 run") && text.contains("no tree"), "{text}");

    let blind = folder.fails(&line("status", "blind", ""));
    assert!(blind.contains("members"), "{blind}");
    let taken = folder.fails(&line("status", "b", ""));
    assert!(taken.contains("no running node"), "{taken}");
    let missing = folder.fails(&line("status", "nobody", ""));
    assert!(missing.contains("mobula keygen"), "{missing}");
    let nowhere = "/ip4/127.0.0.1/tcp/7000";
    let bad = folder.fails(&format!("tree {nowhere} --key eyes.key --certificate eyes.cert"));
    assert!(bad.contains("/p2p/KEY"), "{bad}");
    assert_eq!((a.members().len(), b.members().len()), (2, 2));
    tree.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_key_that_others_can_read_starts_no_node() {
    let folder = Folder::new("open");
    folder.ok("keygen a.key");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(folder.file("a.key"), open).unwrap();
    let refused = Node::builder().identity(folder.file("a.key")).start().await.unwrap_err();
    let mobula::node::NodeError::Identity(IdentityError::Shared { mode }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(mode, 0o640);
}
