//! Messages of the nodes' own protocol that are none, made of valid ones.

use mobula_actors::wire;

use super::*;

/// What stands for the length or number at `at`.
fn with(body: &[u8], at: usize, number: &[u8]) -> Vec<u8> {
    [&body[..at], number, &body[at + 1..]].concat()
}

/// Where a text of the questions begins: with its length.
fn texts(body: &[u8]) -> Vec<usize> {
    let is_text = |at: &usize| {
        let text = body.get(at + 1..at + 1 + usize::from(body[*at]));
        text.is_some_and(|text| text == b"name" || text == b"test.target" || text == b"why")
    };
    (0..body.len()).filter(is_text).collect()
}

fn damaged(body: &[u8]) -> Vec<Vec<u8>> {
    let mut vectors: Vec<Vec<u8>> = (0..body.len()).map(|cut| body[..cut].to_vec()).collect();
    vectors.push([body, &[0]].concat());
    vectors.push([body, body].concat());
    // Variants that there are not.
    for variant in [&[0x7f][..], &[0xff, 0x01], &[0xff, 0xff, 0xff, 0xff, 0x0f], &MOST, &ENDLESS] {
        vectors.push(with(body, 0, variant));
    }
    for at in texts(body) {
        for length in [&[0x7f][..], &[0xff, 0xff, 0x03], &MOST, &BEYOND, &ENDLESS] {
            vectors.push(with(body, at, length));
        }
        // No UTF-8.
        vectors.push(with(body, at + 1, &[0xff]));
    }
    vectors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_of_nodes_that_are_none_are_refused() {
    // W-2
    let mut scene = Scene::new().await;
    let (from, carrier) = (scene.scribe.node(), scene.cluster.carrier().unwrap());
    let frames = scene.frames().await;
    let mut refused = 0;
    for frame in frames.into_iter().filter(|frame| frame.kind == MESSAGE) {
        let (head, behind) = frames::split::<MessageHead>(&frame.head).unwrap();
        if head.actor != service_id(scene.cluster.id) {
            continue;
        }
        let (body, payloads) = head.parts.cut(behind, frame.payload).unwrap();
        let read = |body: &[u8], payloads| {
            wire::decode::<NodeMsg>(&carrier, from, body, payloads).map(drop)
        };
        for vector in damaged(&body) {
            assert!(read(&vector, payloads.clone()).is_err(), "{vector:02x?}");
            refused += 1;
        }
        assert!(payloads.is_empty() || read(&body, Vec::new()).is_err(), "a payload of nobody");
        assert!(read(&body, payloads).is_ok(), "{body:02x?}");
    }
    println!("{refused} questions that are none");
    assert!(refused >= 400);
    scene.lives().await;
}
