//! How shapes are said, compared and told (SP-1 to SP-3 of `shapes`).

use mobula_actors::Why;
use mobula_actors::carrier::Inbound;
use mobula_actors::id::NodeId;
use mobula_actors::wire::Schema;

use super::cluster::Cluster;
use super::credit::Purse;
use super::frames::{self, FITS, FitsHead, SHAPE, ShapeHead};
use super::shapes::{Own, SHAPES, Standing};
use crate::net::{self, Lane, Link, Message};

impl Cluster {
    /// The number under which a message of `schema` goes to the peer of `link`; its shape goes
    /// before it, if it has not. `purse` remembers what fits.
    pub(super) fn introduce(
        &self,
        link: &Link,
        lane: Lane,
        schema: Option<&Schema>,
        purse: Option<&Purse>,
    ) -> Result<u64, Why> {
        let Some(schema) = schema else { return Ok(0) };
        if purse.is_some_and(Purse::is_understood) || link.terms().features & SHAPES == 0 {
            return Ok(0);
        }
        let own = self.shapes.own(schema, &self.system);
        // Only what was said on the message's own lane is surely there before it.
        let say = || link.push(lane, shape_frame(&own)).map_err(|refused| refused.why);
        let again = lane == Lane::Bulk;
        match self.shapes.introduce(link.node(), &own, again, say) {
            Ok(Standing::Said) => Ok(own.number.into()),
            Ok(Standing::Fits) => {
                if let Some(purse) = purse {
                    purse.understood();
                }
                Ok(0)
            }
            Ok(Standing::Misfits(why)) => Err(Why::Incompatible(why)),
            Err(net::Why::Full) => Err(Why::Full),
            Err(_) => Err(Why::Unreachable),
        }
    }

    /// Whether `node` has said that the shape of a protocol of this node fits.
    pub(super) fn fits(&self, node: NodeId, schema: &Schema) -> bool {
        self.shapes.fits(node, &self.shapes.own(schema, &self.system))
    }

    /// Whether what `from` sends under `number` may be decoded by `inbound`, or why not (SP-1).
    pub(super) fn understands(
        &self,
        from: NodeId,
        number: u64,
        inbound: &dyn Inbound,
    ) -> Result<(), String> {
        if number == 0 {
            return Ok(());
        }
        let number = u32::try_from(number).unwrap_or(0);
        let own = self.shapes.own(inbound.schema(), &self.system);
        let judged = self.shapes.judge(from, number, &own);
        if judged.is_news {
            let misfit = judged.verdict.as_ref().err().cloned();
            self.push_control(from, frames::bare(FITS, &FitsHead { number, misfit }));
        }
        judged.verdict.inspect_err(|why| {
            self.shapes.refused();
            tracing::warn!(%from, why, "a message was refused");
        })
    }

    /// A node says what it means by a protocol.
    pub(super) fn said(&self, from: NodeId, message: &Message) -> Option<()> {
        let (ShapeHead { number, name }, behind) = frames::split(&message.head)?;
        if !behind.is_empty() {
            return None;
        }
        self.shapes.said(from, number, name, &message.payload)
    }

    /// A node has compared a protocol of this one with its own.
    pub(super) fn compared(&self, from: NodeId, message: &Message) -> Option<()> {
        let FitsHead { number, misfit } = frames::whole(message)?;
        self.shapes.answered(from, number, misfit);
        Some(())
    }
}

fn shape_frame(own: &Own) -> Message {
    let head = ShapeHead { number: own.number, name: own.name.to_owned() };
    Message { payload: own.encoded.clone(), ..frames::bare(SHAPE, &head) }
}
